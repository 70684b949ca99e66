"""A local upstream: what k3s-bundler downloads from, small, real and deterministic, on 127.0.0.1."""

from tests.upstream.access import BasicAccess, BearerAccess
from tests.upstream.content import EXTRA_IMAGE, Content, standard_content
from tests.upstream.faults import (
    Abreast,
    Cut,
    Drip,
    Flip,
    Headers,
    IgnoreRange,
    Redirect,
    Reset,
    Stall,
    Status,
    WrongLength,
)
from tests.upstream.images import Image, PlatformImage
from tests.upstream.layers import Filler
from tests.upstream.log import Request
from tests.upstream.upstream import Upstream

__all__ = [
    "EXTRA_IMAGE",
    "Abreast",
    "BasicAccess",
    "BearerAccess",
    "Content",
    "Cut",
    "Drip",
    "Filler",
    "Flip",
    "Headers",
    "IgnoreRange",
    "Image",
    "PlatformImage",
    "Redirect",
    "Request",
    "Reset",
    "Stall",
    "Status",
    "Upstream",
    "WrongLength",
    "standard_content",
]
