"""Near-duplicates between the images that a network was trained on and those that it is evaluated on."""

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_jax.data.near_duplicates import MOST_IMAGES, SIDE, NearDuplicate, near_duplicates
from resnet_jax.data.sources.source import ArraySource, Source, pixels_of
from resnet_jax.errors import InputError
from resnet_jax.evaluation.gallery import data_uri
from resnet_jax.evaluation.image_set import ImageSet, image_set, open_set
from resnet_jax.evaluation.predictions import names_of
from resnet_jax.evaluation.training_images import open_where_they_lie
from resnet_jax.inference.trained import Trained

SHOWN = 20


@dataclass(frozen=True)
class SharedPair:
    """A training image and an evaluated one that look alike.

    Attributes:
        train_name: of the training image.
        name: of the evaluated image.
        train_class: name of its class.
        class_name: name of its class.
        train_image: data URI.
        image: data URI.
        similarity: in [0, 1].
    """

    train_name: str
    name: str
    train_class: str
    class_name: str
    train_image: str
    image: str
    similarity: float


@dataclass(frozen=True)
class SharedImages:
    """The near-duplicates of a report.

    Attributes:
        pairs: the most alike, at most SHOWN.
        num_pairs: how many there are.
        num_images: evaluated images among them.
        left_out: why they were not looked for; "" where they were.
    """

    pairs: tuple[SharedPair, ...] = ()
    num_pairs: int = 0
    num_images: int = 0
    left_out: str = ""


def open_training_images(trained: Trained, images: ImageSet) -> tuple[ImageSet, Source]:
    """Open the training images of a run; where they are gone, those beside evaluated images of the same kind.

    Raises:
        InputError: they cannot be read, or are not those of the training.
    """
    run = trained.run
    assert run is not None

    def in_folder(data_dir: str) -> ImageSet:
        other = "" if data_dir == run.data_dir else data_dir
        return image_set(trained, data_dir=other, split="train", links_out=images.rule.links_out)

    def open_folder(data_dir: str) -> Source:
        return open_set(in_folder(data_dir), trained, trained.preprocessing.image_size)

    other = images.data_dir if images.dataset == run.dataset else ""
    data_dir, source = open_where_they_lie(trained, other, open_folder)
    return in_folder(data_dir), source


def shared_images(trained: Trained, source: Source, images: ImageSet, names: Sequence[str]) -> SharedImages:
    """Look for a network's training images among those that it is evaluated on.

    Args:
        trained: the network.
        source: the evaluated images.
        images: what they are.
        names: of the evaluated images.
    """
    if trained.run is None:
        return SharedImages(left_out=f"The training images of {trained.source} are not known.")
    try:
        training, train = open_training_images(trained, images)
        if training.identity == images.identity:
            return SharedImages(left_out="These are the training images themselves.")
        if (largest := max(len(train), len(source))) > MOST_IMAGES:
            return SharedImages(left_out=f"Left out: {largest:,} images are more than the {MOST_IMAGES:,} compared.")
        if isinstance(source, ArraySource) and source.images.shape[1] < SIDE:
            return SharedImages(left_out=f"Left out: images of less than {SIDE} pixels are not compared.")
        found = near_duplicates(train, source, SHOWN)
        train_names = names_of(train, training) if found.pairs else []
    except InputError as error:
        return SharedImages(left_out=f"Left out, because the training images cannot be read: {error}")

    def shown(pair: NearDuplicate) -> SharedPair:
        classes = source.class_names
        return SharedPair(
            train_name=train_names[pair.first],
            name=names[pair.second],
            train_class=classes[train[pair.first].label],
            class_name=classes[source[pair.second].label],
            train_image=data_uri(pixels_of(train[pair.first])),
            image=data_uri(pixels_of(source[pair.second])),
            similarity=pair.similarity,
        )

    return SharedImages(tuple(map(shown, found.pairs)), found.num_pairs, found.num_second)
