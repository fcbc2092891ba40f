"""Telling people by chat and machines by signed webhooks; what is told is made in `services.notices`."""
