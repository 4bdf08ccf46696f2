"""The record of a run, as TensorBoard and the report read it."""

import struct

import numpy as np
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from jaxvae.run.folder import logs, tensorboard


def events(folder):
    """What TensorBoard reads, by its record format: a length, its sum, the event, its sum."""
    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            found.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def scalars(folder):
    return [(e.step, v.tag, v.simple_value) for e in events(folder) for v in e.summary.value]


def test_rows_are_lines_and_scalars(tmp_path):
    log = logs.Log(tmp_path)
    log.write({"step": 3, "bound": -1.5})
    log.write({"step": 6, "bound": [-1.0, -2.0]})
    assert logs.read(tmp_path) == [{"step": 3, "bound": -1.5}, {"step": 6, "bound": [-1.0, -2.0]}]
    log.close()
    assert scalars(tmp_path) == [(3, "bound", -1.5), (6, "bound", -1.5)]
    assert events(tmp_path)[0].file_version == "brain.Event:2"


def test_a_run_that_goes_on_drops_what_lies_past_its_checkpoint(tmp_path):
    log = logs.Log(tmp_path)
    for step in (3, 6, 9):
        log.write({"step": step, "bound": float(step)})
    log.close()
    log = logs.Log(tmp_path, step=6)
    log.write({"step": 12, "bound": 12.0})
    log.close()
    assert [row["step"] for row in logs.read(tmp_path)] == [3, 6, 12]
    assert [step for step, *_ in scalars(tmp_path)] == [3, 6, 9, 12]
    starts = [e.step for e in events(tmp_path) if e.session_log.status == SessionLog.START]
    assert starts == [7]  # TensorBoard hides the older events from this step on


def test_tensorboard_can_read_while_training_goes_on(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: clock[0])
    log = logs.Log(tmp_path)
    log.write({"step": 1, "bound": 1.0})
    clock[0] += logs.FLUSHED_EVERY
    log.write({"step": 2, "bound": 2.0})
    assert scalars(tmp_path) == [(1, "bound", 1.0), (2, "bound", 2.0)]
    log.close()


def test_a_line_that_a_crash_has_cut_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"ste')
    assert logs.read(tmp_path) == [{"step": 1}]
    log = logs.Log(tmp_path, step=1)
    log.write({"step": 2, "bound": float(np.float32(0.5))})
    log.close()
    assert logs.read(tmp_path) == [{"step": 1}, {"step": 2, "bound": 0.5}]


def test_options_numbers_and_pictures_are_there_for_tensorboard(tmp_path):
    picture = tmp_path / "samples.png"
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(picture)
    options = {"model.latent": 20, "optimizer.lr": 1e-3, "optimizer.clip": None, "model.maps": [4, 8], "mean": True}
    tensorboard.record(tmp_path, 12, options, {"test_elbo": -98.5, "test_nll": None}, [picture])
    found = [value for event in events(tmp_path) for value in event.summary.value]
    (image,) = [value.image for value in found if value.tag == "figures/samples"]
    assert (image.width, image.height) == (6, 4)
    assert image.encoded_image_string == picture.read_bytes()
    assert {value.tag: value.simple_value for value in found if value.HasField("simple_value")} == {"test_elbo": -98.5}
    (start,) = [value.metadata.plugin_data.content for value in found if value.tag.endswith("session_start_info")]
    told = HParamsPluginData.FromString(start).session_start_info.hparams
    assert told["model.latent"].number_value == 20
    assert told["optimizer.clip"].string_value == "none"
    assert told["model.maps"].string_value == "[4, 8]"
    assert told["mean"].bool_value
    assert {event.step for event in events(tmp_path)} == {0, 12}
    assert tensorboard.line(tmp_path) == f"tensorboard --logdir {tmp_path}"
