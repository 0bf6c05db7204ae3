"""The names of classes in the language that a request wants."""

from collections.abc import Sequence

from sightbox.classifier import Classifier
from sightbox.errors import RequestError

DEFAULT = "en"
"""The language of other servers' labels."""


def names_in(language: object, classifier: Classifier) -> Sequence[str]:
    """Returns the name of each class in a language.

    Args:
        language: Its code, as a client gave it.
        classifier: Whose classes.

    Raises:
        RequestError: There are no labels in it.
    """
    names = classifier.labels.names
    if not isinstance(language, str) or language not in names:
        raise RequestError(
            f"There are no labels in {language!r:.40}.",
            f"lang can be {', '.join(classifier.labels.languages)}.",
        )
    return names[language]
