"""The errors of finding credentials, in files, commands, roles or over the network, become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import ConfigError, PermissionDeniedError, StoreTimeoutError, StoreUnavailableError

__all__ = ["finding_credentials"]


@contextmanager
def finding_credentials(store: str) -> Iterator[None]:
    """
    Raise errors of aiobotocore, when it finds or refreshes credentials, as ours.

    Raises:
        PermissionDeniedError: there are no credentials, or their provider refuses.
        StoreUnavailableError: the provider of credentials does not answer.
        ConfigError: the selected profile is in no file.
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
    except (boto.BotoCoreError, OSError) as cause:  # OSError: a command that does not exist
        raise PermissionDeniedError(f"no credentials: {cause}", store=store) from cause
