"""DYNAP-SE2: from the network that was trained in Rockpool to the one that runs on the chip."""

from ._bias_generator import bias_codes as bias_codes
from ._bias_generator import bias_currents as bias_currents
from ._costs import DeploymentCosts as DeploymentCosts
from ._deploy import deploy as deploy
from ._deployment import Deployment as Deployment
from ._report import DeploymentReport as DeploymentReport
from ._report import Stage as Stage
