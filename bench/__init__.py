"""Measurements that the documents quote; not installed with the service."""
