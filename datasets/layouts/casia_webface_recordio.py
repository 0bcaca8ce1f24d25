"""CASIA-WebFace in InsightFace's packing: about 490 000 aligned 112x112 crops of 10 572 people in one RecordIO file.

Data set: Yi, Lei, Liao, Li, "Learning Face Representation from Scratch", arXiv:1411.7923, 2014. Packing: the archive
``faces_webface_112x112`` of https://github.com/deepinsight/insightface/tree/master/recognition/_datasets_, which lists
addresses of file-sharing services only. ``train.lst`` and ``property``, which lie beside the two files, are not needed:
the records hold their labels. Any other data set in this packing loads in the same way.
"""

from __future__ import annotations

from cloakbench.datasets.layouts.reading import rejection
from cloakbench.datasets.layouts.recordio import read_records
from cloakbench.datasets.listing import Layout, Listing


class CasiaWebFaceRecordIo(Layout):
    """Aligned crops; people are the labels ``0``, ``1``, ..., photos are ``<label>/<key>``.

    A record that was written in several parts is rejected with the status ``split_record``.
    """

    name = "casia_webface_recordio"
    page = "https://github.com/deepinsight/insightface/tree/master/recognition/_datasets_"
    licence = "non-commercial research, as CASIA-WebFace"
    folder = "train.rec and train.idx of faces_webface_112x112"
    disk_gib = 2.6  # not published; 490 000 records at the 5.7 kB of MS1M-RetinaFace in the same packing

    def listing(self) -> Listing:
        records = read_records(self, self.root / "train.rec", self.root / "train.idx")
        identity = [str(label) for label in records.labels.tolist()]
        image_id = [f"{person}/{key}" for person, key in zip(identity, records.keys.tolist(), strict=True)]
        if not records.split.any():
            return Listing(image_id, identity, records.places)
        whole = [row for row, split in enumerate(records.split.tolist()) if not split]
        note = "the record is in several parts, because its data contains the format's magic number"
        return Listing(
            [image_id[row] for row in whole],
            [identity[row] for row in whole],
            [records.places[row] for row in whole],
            rejected=tuple(
                rejection(f"record {key}", "split_record", note) for key in records.keys[records.split].tolist()
            ),
        )
