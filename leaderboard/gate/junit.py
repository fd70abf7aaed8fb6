"""A verdict as JUnit XML, which every CI system can show."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from .report import sentence
from .verdict import Comparison, Verdict


def junit_xml(verdict: Verdict) -> bytes:
    """One suite per reference, one case per metric, one skipped case per note."""
    root = Element("testsuites", name="medbench gate")
    for comparison in verdict.comparisons:
        _suite(root, comparison)
    indent(root)
    return tostring(root, encoding="utf-8", xml_declaration=True)


def refusal_xml(reason: str) -> bytes:
    """A gate that could not compare: one case with an error."""
    root = Element("testsuites", name="medbench gate")
    suite = SubElement(root, "testsuite", name="gate", tests="1", errors="1", failures="0")
    case = SubElement(suite, "testcase", classname="gate", name="comparable")
    SubElement(case, "error", message="not compared").text = _text(reason)
    indent(root)
    return tostring(root, encoding="utf-8", xml_declaration=True)


def _suite(root: Element, comparison: Comparison) -> None:
    suite = SubElement(
        root,
        "testsuite",
        name=f"against the {comparison.against}",
        tests=str(len(comparison.findings) + len(comparison.notes)),
        failures=str(len(comparison.worse)),
        errors="0",
        skipped=str(len(comparison.notes)),
    )
    for finding in comparison.findings:
        case = SubElement(
            suite, "testcase", classname=_text(finding.cell), name=_text(finding.title)
        )
        if finding.worse:
            SubElement(case, "failure", message="worse").text = _text(sentence(finding))
    for number, note in enumerate(comparison.notes, 1):
        case = SubElement(suite, "testcase", classname="notes", name=f"note {number}")
        SubElement(case, "skipped", message=_text(note))


def _text(text: str) -> str:
    """Without the characters that XML 1.0 has no way to write."""
    return "".join(c for c in text if c in "\t\n\r" or (ord(c) >= 32 and c not in "\ufffe\uffff"))
