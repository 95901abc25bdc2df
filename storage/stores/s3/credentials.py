"""What becomes of errors on the way to credentials: of a file, a command, a role, the network between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import ConfigError, PermissionDeniedError, StoreTimeoutError, StoreUnavailableError

__all__ = ["finding_credentials"]


@contextmanager
def finding_credentials(store: str) -> Iterator[None]:
    """
    Let what aiobotocore raises, when it looks for credentials or refreshes them, be ours.

    Raises:
        PermissionDeniedError: there are none, or those who give them refuse.
        StoreUnavailableError: those who give them do not answer now.
        ConfigError: the profile that is asked for is in no file.
    """
    from botocore import exceptions as boto

    try:
        yield
    except boto.ProfileNotFound as cause:
        raise ConfigError(str(cause), store=store) from cause
    except (TimeoutError, boto.ConnectTimeoutError, boto.ReadTimeoutError) as cause:
        raise StoreTimeoutError("the credentials provider did not answer in time", store=store) from cause
    except (boto.ConnectionError, boto.HTTPClientError) as cause:
        raise StoreUnavailableError(
            f"no answer from the credentials provider: {type(cause).__name__}", store=store
        ) from cause
    except boto.ClientError as cause:
        status = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = StoreUnavailableError if status >= 500 or status == 429 else PermissionDeniedError
        raise kind(f"no credentials: {cause}", store=store) from cause
    except (boto.BotoCoreError, OSError) as cause:  # OSError: a command that is not there
        raise PermissionDeniedError(f"no credentials: {cause}", store=store) from cause
