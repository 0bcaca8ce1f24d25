"""CASIA-WebFace as published: 494 414 photos of 10 575 people, 250x250, one folder per person.

Yi, Lei, Liao, Li, "Learning Face Representation from Scratch", arXiv:1411.7923, 2014. The publisher asked for a signed
agreement; whether its page still answers could not be established. The InsightFace packing of aligned crops is
:mod:`cloakbench.datasets.layouts.casia_webface_recordio`.
"""

from __future__ import annotations

from cloakbench.datasets.layouts.people import list_people
from cloakbench.datasets.listing import Layout, Listing


class CasiaWebFace(Layout):
    """Photos of people who are numbered as in the Internet Movie Database."""

    name = "casia_webface"
    page = "http://www.cbsr.ia.ac.cn/english/CASIA-WebFace-Database.html"
    licence = "research and education only, signed agreement"
    folder = "0000045/001.jpg"
    disk_gib = 6.0  # not published; 494 414 photos at LFW's 13 kB for a photo of the same size

    def listing(self) -> Listing:
        return list_people(self, self.root)
