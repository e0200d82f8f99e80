"""A prepared imagenet2012 of a few images: TFDS's own description of it and records as it writes them, real JPEG files.

Preparing one takes TensorFlow, and the pictures of ImageNet; this takes neither.
"""

import io
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2, tf_feature_pb2

NAME, VERSION = "imagenet2012", "5.1.0"


def picture(number):
    """uint8[h,w,3] of a size of its own: a smooth pattern, which survives JPEG."""
    height, width = 60 + 7 * (number % 5), 60 + 11 * (number % 3)
    rows, columns = np.mgrid[:height, :width]
    channels = (rows + 5 * number, columns + 11 * number, rows + columns)
    return np.stack([np.round(127 + 120 * np.sin(values / 40)) for values in channels], axis=-1).astype(np.uint8)


def prepare(root: Path, sizes={"train": 24, "validation": 10}):  # noqa: B006 (read only)
    """Writes root/imagenet2012/5.1.0; the image at position i is picture(i), its label 37 * i % 1000."""
    folder = root / NAME / VERSION
    folder.mkdir(parents=True)
    with tfds.testing.mock_data():
        info = tfds.builder(NAME, file_format="array_record").info
    infos = []
    for split, size in sizes.items():
        path = folder / f"{NAME}-{split}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for number in range(size):
            writer.write(_record(number))
        writer.close()
        template = tfds.core.ShardedFileTemplate(
            dataset_name=NAME, data_dir=folder, split=split, filetype_suffix="array_record"
        )
        infos.append(tfds.core.SplitInfo(name=split, shard_lengths=[size], num_bytes=1, filename_template=template))
    info.set_splits(tfds.core.splits.SplitDict(infos))
    info.write_to_directory(str(folder))
    return folder


def _record(number):
    file = io.BytesIO()
    Image.fromarray(picture(number)).save(file, "JPEG", quality=95)
    feature = {
        "file_name": _bytes(f"n{number:08}_1.JPEG".encode()),
        "image": _bytes(file.getvalue()),
        "label": tf_feature_pb2.Feature(int64_list=tf_feature_pb2.Int64List(value=[37 * number % 1000])),
    }
    return tf_example_pb2.Example(features=tf_feature_pb2.Features(feature=feature)).SerializeToString()


def _bytes(content):
    return tf_feature_pb2.Feature(bytes_list=tf_feature_pb2.BytesList(value=[content]))
