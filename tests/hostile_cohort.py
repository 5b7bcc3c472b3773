"""A dataset whose values contain markup, and an audit with such findings."""

from pathlib import Path

import anyio
from made_cohort import ct, encoded, slide, write

from harvester.audits import load_audit, run_audit
from harvester.audits.output import as_json, json_bytes
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
# An equals sign would end the name's alphabetic group.
HOSTILE_NAME = '"><script>document.write(3)</script><b onload>'
_AUDIT = '''
[[rules]]
rule = "required_attributes"
attributes = ["RescaleSlope"]
Modality = "CT"
[[rules]]
rule = "offset_table"
[[rules]]
name = "named_by_hand"
sql = """SELECT SeriesInstanceUID, instance_url, SeriesDescription AS problem, PatientName
         FROM instances LIMIT 3"""
'''


def hostile_dataset(folder: Path) -> str:
    """Crawl and audit some objects with markup for a patient's name and a description.

    Args:
        folder: Where it all is.

    Returns:
        The dataset's directory.
    """
    named = {"PatientName": HOSTILE_NAME, "SeriesDescription": HOSTILE}
    planes = [ct(1, n, **named, SliceThickness=n / 10) for n in range(1, 31)]
    del planes[0].RescaleSlope
    objects = {f"ct/{n}.dcm": encoded(one) for n, one in enumerate(planes)}
    objects["slide/1.dcm"] = encoded(slide(2, table=False, **named))
    objects["slide/2.dcm"] = encoded(slide(3, **named))
    objects["broken/1.dcm"] = b"no DICOM"
    write(folder / "files", objects)
    config = folder / "audit.toml"
    config.write_text(f"dataset = '{folder}/dataset'\n[select]\nroot = '{folder}/files'\n{_AUDIT}")
    audit = load_audit(config)
    anyio.run(crawl, audit.crawl, CrawlProgress())
    result = run_audit(audit)
    result.keep(json_bytes(as_json(result)))
    return result.dataset
