"""Read a Croissant file with mlcroissant and without a network: `python croissant_check.py FILE [FOLDER]`.

Prints errors and warnings, and with a folder that holds the data's files, the first record of each record set, as JSON.
Runs in the environment of `croissant_requirements.txt`.
"""

import json
import logging
import socket
import sys
from pathlib import Path


def main() -> None:
    def refuse(*_):
        raise OSError("no network in this test")

    socket.socket.connect = refuse
    socket.getaddrinfo = refuse
    logging.disable()
    import mlcroissant

    file, *folders = map(Path, sys.argv[1:])
    tree = json.loads(file.read_text())
    mapping = {one["@id"]: folder / one["@id"] for folder in folders for one in tree["distribution"]}
    try:
        dataset = mlcroissant.Dataset(file, mapping=mapping)
    except mlcroissant.ValidationError as error:
        print(json.dumps({"errors": [str(error)], "warnings": [], "records": {}}))
        return
    issues = dataset.metadata.ctx.issues
    records = {one.name: next(iter(dataset.records(one.name))) for one in dataset.metadata.record_sets if folders}
    shown = {"errors": sorted(issues.errors), "warnings": sorted(issues.warnings), "records": records}
    print(json.dumps(shown, default=bytes.decode))


if __name__ == "__main__":
    main()
