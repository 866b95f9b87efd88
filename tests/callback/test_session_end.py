"""How a run ended, as TensorBoard's HParams tab shows it."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata

import limpet


def test_training_that_is_broken_off_is_a_failed_session(tmp_path):
    config = limpet.Config.model_validate(
        {
            "hardware": {"all": {"leaves": "*", "sigma": 0.1}},
            "training": {"dynamic": {}},
            "tensorboard": {"logdir": tmp_path},
        }
    )
    with pytest.raises(KeyboardInterrupt), limpet.MismatchCallback({"w": np.ones(3)}, config):
        raise KeyboardInterrupt
    end = EventAccumulator(str(tmp_path)).Reload().SummaryMetadata(hparams_metadata.SESSION_END_INFO_TAG)
    assert hparams_metadata.parse_session_end_info_plugin_data(end.plugin_data.content).status == api_pb2.STATUS_FAILURE
