"""`make k8s-tools`: CustomResourceDefinitions of the operators that deploy/k8s uses, and kwok's stages, into .tools/k8s.

Files come from Go modules, whose checksums definitions.toml pins; Strimzi's, which no registry has, from its own generator.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

TOOL: Final = Path(__file__).resolve().parent
STRIMZI: Final = {
    "kafka": "kafka.Kafka",
    "kafkanodepool": "nodepool.KafkaNodePool",
    "kafkatopic": "topic.KafkaTopic",
    "kafkauser": "user.KafkaUser",
}
"""Kinds, and the classes that their definitions are made of."""
STAGES: Final = ("stage/fast", "stage/node/heartbeat")


class ChecksumDiffers(Exception):
    """A module isn't what was pinned; the message names it."""


def module_folder(pinned: Mapping[str, str]) -> Path:
    """Where Go keeps a module, fetched where it isn't there yet.

    Raises:
        ChecksumDiffers: it isn't the one that is pinned.
    """
    name = f"{pinned['module']}@{pinned['version']}"
    shown = subprocess.run(
        ["go", "mod", "download", "-json", name], check=True, stdout=subprocess.PIPE
    ).stdout
    found = json.loads(shown)
    if found["Sum"] != pinned["sum"]:
        raise ChecksumDiffers(
            f"{name} has the checksum {found['Sum']}, definitions.toml says {pinned['sum']}"
        )
    return Path(found["Dir"])


def copy_definitions(folder: Path) -> None:
    """Copies the definitions of all modules into a folder."""
    listed = tomllib.loads((TOOL / "definitions.toml").read_text(encoding="utf-8"))
    for pinned in listed["module"]:
        files = sorted(module_folder(pinned).glob(pinned["files"]))
        if not files:
            raise FileNotFoundError(f"{pinned['module']}@{pinned['version']} has no {pinned['files']}")
        for file in files:
            shutil.copyfile(file, folder / file.name)


def generate_strimzi(folder: Path, jars: Path) -> None:
    """Writes Strimzi's definitions into a folder."""
    copy = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}")
    pom = str(TOOL / "strimzi" / "pom.xml")
    subprocess.run(["mvn", "--batch-mode", "--quiet", "--file", pom, *copy], check=True)
    api = "io.strimzi.api.kafka.model"
    wanted = [
        f"{api}.{name}={folder.absolute() / f'strimzi.io_{kind}s.yaml'}" for kind, name in STRIMZI.items()
    ]
    generator = ("java", "-cp", f"{jars}/*", "io.strimzi.crdgenerator.CrdGenerator", "--yaml")
    subprocess.run([*generator, *wanted], check=True)


def write_stages(file: Path, kubectl: Path) -> None:
    """Writes kwok's own stages: what becomes of nodes, pods and Jobs that nothing runs."""
    (shown,) = (
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=TOOL / "kwok").stdout
        for command in (["go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"],)
    )
    stages = [
        subprocess.run(
            [str(kubectl), "kustomize", f"{shown.strip()}/kustomize/{name}"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        for name in STAGES
    ]
    file.write_text("---\n".join(stages), encoding="utf-8")


def main(made: Path, kubectl: Path) -> None:
    """Makes all of it in .tools/k8s; what was there before is replaced at the end."""
    draft = made / "crds.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    copy_definitions(draft)
    # Maven takes a relative path as one beside its pom.xml.
    generate_strimzi(draft, (made / "strimzi").absolute())
    write_stages(made / "stages.yaml", kubectl)
    shutil.rmtree(made / "crds", ignore_errors=True)
    draft.rename(made / "crds")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
