"""CMPP, the protocol of short message gateways in China: ``adapters.cmpp.adapter``."""
