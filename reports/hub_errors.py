"""Translate errors of the Hub into one line each, with a remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from loratory.spaces.errors import InputError, LoratoryError

_REMEDIES = {
    401: "the Hub does not accept the token: check HF_TOKEN, or run `hf auth login`",
    403: "the token may not write there: it needs write permission on this repository",
    404: "the Hub knows no such owner: check the part before the slash",
    413: "the Hub finds the upload too large",
    429: "the Hub asks to wait: try again later",
}
# huggingface_hub's own error derives from that of its HTTP library, which differs between releases.
_TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]


@contextmanager
def hub_errors(repo_id: str) -> Iterator[None]:
    """Translate errors of the Hub or the network into `LoratoryError`.

    Args:
        repo_id: the repository that messages name.

    Raises:
        InputError: the Hub refuses the token, the name or the content.
        LoratoryError: the Hub cannot be reached, or failed.
    """
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        detail = " ".join((error.server_message or "").split())
        remedy = _REMEDIES.get(status, "")
        kind = InputError if 400 <= status < 500 else LoratoryError
        said = "; ".join(part for part in (remedy, detail) if part) or "it gives no reason"
        raise kind(f"{repo_id}: the Hub answered {status}: {said}") from error
    except OfflineModeIsEnabled as error:
        raise InputError(f"{repo_id}: cannot upload while HF_HUB_OFFLINE is set: unset it") from error
    except (HFValidationError, ValueError) as error:
        raise InputError(f"{repo_id}: the Hub refuses it: {' '.join(str(error).split())}") from error
    except (OSError, _TRANSPORT_ERROR) as error:
        raise LoratoryError(
            f"{repo_id}: cannot reach the Hub: {' '.join(str(error).split())}; the staged files stay, so "
            "push again when the network is back"
        ) from error
