"""The flow of a recognition in words, and one error class for each of its steps.

``bytes -> image -> pixels -> batch -> logits -> labels -> response``

===================  ===========================================  ======  ====
step                 error                                        status  exit
===================  ===========================================  ======  ====
request -> bytes     `RequestError`, `BodyTooLargeError`          4xx     2
bytes -> image       `ImageError` and its refinements             4xx     1
bytes -> process     `DecoderNotAvailableError`                   500     1
weights -> arrays    `CheckpointError`                            422     1
arrays -> model      `ModelError`, `ModelNotFoundError`           500     1
model -> memory      `ModelTooLargeError`, `ModelsBusyError`      507/3   1
network -> weights   `DownloadError`                              502     1
box -> other box     `KitError`                                   500     1
batch -> logits      `BackendError`, `BackendNotAvailableError`   500     1
waiting for a turn   `QueueFullError`, `DeadlineError`            503/4   1
closing down         `ClosedError`                                503     1
class -> label       `LabelError`                                 500     1
configuration        `SettingsError`                              500     2
===================  ===========================================  ======  ====

Every class has a stable ``code`` for programs, an HTTP ``status`` (RFC 9110) and a command-line
``exit_code``. All of them survive pickling, so that they can cross a process boundary.
"""


class SightboxError(Exception):
    """The base of every error that Sightbox raises on purpose.

    Args:
        detail: What went wrong, one sentence, fit to be shown to a person.
        hint: What to do about it; may be empty.
    """

    code = "error"
    title = "Something went wrong"
    status = 500
    exit_code = 1

    def __init__(self, detail: str, hint: str = "") -> None:
        # Exactly the constructor's arguments go to `Exception`: unpickling calls `cls(*args)`.
        super().__init__(detail, hint)
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.detail} {self.hint}" if self.hint else self.detail


class RequestError(SightboxError):
    """A parameter, an argument or the form of a request cannot be understood."""

    code = "bad_request"
    title = "The request cannot be understood"
    status = 400
    exit_code = 2


class BodyTooLargeError(RequestError):
    """The request's body is larger than the server accepts."""

    code = "body_too_large"
    title = "The upload is too large"
    status = 413


class ImageError(SightboxError):
    """The bytes are no complete, readable image."""

    code = "bad_image"
    title = "The picture cannot be read"
    status = 400


class ImageFormatError(ImageError):
    """The bytes are of a format that is unknown or not allowed."""

    code = "unsupported_format"
    title = "The picture's format is not supported"
    status = 415


class ImageTooLargeError(ImageError):
    """The image has more pixels than the limit allows."""

    code = "too_many_pixels"
    title = "The picture has too many pixels"
    status = 422


class DecodeTimeError(ImageError):
    """Decoding the image takes longer than the limit allows."""

    code = "decoding_too_slow"
    title = "The picture takes too long to decode"
    status = 422


class DecodeMemoryError(ImageError):
    """Decoding the image takes more memory than the limit allows."""

    code = "decoding_too_large"
    title = "The picture takes too much memory to decode"
    status = 422


class DecoderCrashError(ImageError):
    """The process that decoded the image broke down."""

    code = "decoder_crashed"
    title = "The picture broke its decoder"
    status = 422


class DecoderNotAvailableError(SightboxError):
    """No process can be started that decodes images."""

    code = "decoder_not_available"
    title = "Pictures cannot be decoded in processes here"


class CheckpointError(SightboxError):
    """A weights file is damaged, hostile, or does not hold what its network needs."""

    code = "bad_checkpoint"
    title = "The weights file cannot be used"
    status = 422


class ModelError(SightboxError):
    """A model folder is incomplete, damaged, or cannot be written."""

    code = "bad_model"
    title = "The model cannot be used"


class ModelNotFoundError(SightboxError):
    """No model has this name here."""

    code = "model_not_found"
    title = "There is no such model here"
    status = 404
    exit_code = 2


class ModelTooLargeError(SightboxError):
    """The model would not fit in the memory that models may take, even if no other were loaded."""

    code = "model_too_large"
    title = "The model does not fit in the memory"
    status = 507  # Insufficient Storage: RFC 4918, section 11.5


class ModelsBusyError(SightboxError):
    """The model fits only when others are dropped, and those answer requests; try again shortly."""

    code = "models_busy"
    title = "Other models fill the memory"
    status = 503


class DownloadError(SightboxError):
    """Weights could not be fetched: no network, a broken transfer, or the wrong bytes."""

    code = "download_failed"
    title = "The download failed"
    status = 502


class KitError(SightboxError):
    """An offline kit cannot be made here, or a file is no kit."""

    code = "bad_kit"
    title = "The offline kit cannot be used"


class BackendError(SightboxError):
    """The runtime failed while it loaded or ran a network."""

    code = "backend_failed"
    title = "The recognition engine failed"


class BackendNotAvailableError(BackendError):
    """The backend, or the device it was asked to use, is not available on this machine."""

    code = "backend_not_available"
    title = "The recognition engine is not available"
    status = 501


class QueueFullError(SightboxError):
    """More work is waiting than the queue may hold; try again shortly."""

    code = "queue_full"
    title = "The server is busy"
    status = 503


class DeadlineError(SightboxError):
    """The request waited longer than its deadline before its turn came."""

    code = "deadline_exceeded"
    title = "The answer took too long"
    status = 504


class ClosedError(SightboxError):
    """The classifier or the server is closing and takes no more work."""

    code = "closed"
    title = "The server is shutting down"
    status = 503


class LabelError(SightboxError):
    """A label file is malformed, or does not fit the model's classes."""

    code = "bad_labels"
    title = "The labels cannot be used"


class SettingsError(SightboxError):
    """A setting has an unknown name or a bad value."""

    code = "bad_setting"
    title = "A setting is wrong"
    exit_code = 2
