"""Addresses of Ray clusters; tests/harness/sweep/test_ray.py has a real one."""

from __future__ import annotations

import pytest

from medbench.harness.cluster import Cluster
from medbench.harness.errors import UsageError

ray = pytest.importorskip("ray")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1", "127.0.0.1:99999", f"{'a' * 99}.invalid:1"],
)
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_an_address_where_nobody_listens_is_refused_before_ray_asks(monkeypatch, address, by):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was asked"))
    if by == "environment":
        monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UsageError, match="no Ray cluster at .*:"):
        Cluster(address if by == "argument" else None)


@pytest.mark.parametrize("address", ["auto", None])
def test_a_cluster_that_is_looked_for_is_rays_to_find(monkeypatch, address):
    asked = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **terms: asked.append(terms["address"]))
    Cluster(address)
    assert asked == [address]
