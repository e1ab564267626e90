"""UGS: a merged pin is the deployment; what proves unhealthy is restored and its commit reverted."""

__version__ = "0.1.0"
