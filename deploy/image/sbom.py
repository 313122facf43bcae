"""Lists what an image holds: `alphapanda.cdx.json` (CycloneDX 1.6) and `licences.txt`. Runs in the image's build.

Python packages come from their own metadata in this interpreter's environment, the base's from Debian's list.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

DEBIAN = Path("/var/lib/dpkg/status")
CLASSIFIER = "License :: OSI Approved :: "
LONGEST_NAME = 60
"""Characters. What is longer is a licence's text, not its name."""


@dataclass(frozen=True, order=True)
class Component:
    """A package in the image.

    Attributes:
        kind: of package, as in its purl: pypi or deb.
        name: as its packager writes it.
        version: the same.
        licence: its name, or where it is written.
    """

    kind: str
    name: str
    version: str
    licence: str

    @property
    def purl(self) -> str:
        """Its package URL."""
        place = "deb/debian" if self.kind == "deb" else self.kind
        return f"pkg:{place}/{self.name}@{self.version.replace('+', '%2B').replace(':', '%3A')}"

    def as_cyclonedx(self) -> dict[str, object]:
        """As CycloneDX has it."""
        return {
            "type": "library",
            "bom-ref": self.purl,
            "name": self.name,
            "version": self.version,
            "purl": self.purl,
            "licenses": [{"license": {"name": self.licence}}],
        }


def licence_of(package: Distribution) -> str:
    """The licence that a Python package names: as an expression, by classifiers, or in a short field."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [
        text.removeprefix(CLASSIFIER)
        for text in metadata.get_all("Classifier") or ()
        if text.startswith(CLASSIFIER)
    ]
    if classifiers:
        return " AND ".join(classifiers)
    field = str(metadata.get("License") or "").strip()
    return field if field and len(field) <= LONGEST_NAME and "\n" not in field else "not named by its package"


def of_python() -> Iterator[Component]:
    """The Python packages, by their names as PyPI compares them."""
    for package in distributions():
        name = re.sub(r"[-_.]+", "-", package.name).lower()
        yield Component("pypi", name, package.version, licence_of(package))


def of_debian(status: str) -> Iterator[Component]:
    """The installed packages of Debian's list.

    Args:
        status: the text of dpkg's status file.
    """
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", paragraph, flags=re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            name = fields["Package"]
            yield Component("deb", name, fields["Version"], f"see /usr/share/doc/{name}/copyright")


def main(folder: Path) -> None:
    """Writes both lists."""
    debian = of_debian(DEBIAN.read_text(encoding="utf-8")) if DEBIAN.is_file() else ()
    components = sorted({*of_python(), *debian})
    own = next(one for one in components if one.name == "alphapanda")
    components.remove(own)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own.as_cyclonedx() | {"type": "application"}},
        "components": [one.as_cyclonedx() for one in components],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alphapanda.cdx.json").write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    lines = [f"{one.name} {one.version}: {one.licence}\n" for one in components]
    (folder / "licences.txt").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
