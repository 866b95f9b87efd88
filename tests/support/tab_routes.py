"""The routes of the Robustness tab without a server: TensorBoard's own data provider, and requests in this process."""

from urllib.parse import urlencode

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from werkzeug.test import Client

from limpet.tensorboard._plugin import RobustnessTab


class TabRoutes:
    """What the page would be answered on a log directory as it is now."""

    def __init__(self, logdir):
        multiplexer = EventMultiplexer(tensor_size_guidance={"limpet": 0}).AddRunsFromDirectory(str(logdir))
        multiplexer.Reload()
        tab = RobustnessTab(MultiplexerDataProvider(multiplexer, str(logdir)))
        self.clients = {name: Client(app) for name, app in tab.get_plugin_apps().items()}

    def ask(self, route, method="GET", query="", **parameters):
        """Status and text."""
        query = query or urlencode(parameters, doseq=True)
        answer = self.clients[f"/{route}"].open(f"/data/plugin/limpet/{route}", method=method, query_string=query)
        return answer.status_code, answer.get_data(as_text=True)
