"""What several parts of the harness are tested with."""

from __future__ import annotations

import pytest


@pytest.fixture
def cluster():
    """A Ray cluster of two nodes of one CPU on this machine."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'medbench[ray]'")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
