from __future__ import annotations

from foliot_gateway.http.exposition import merge_expositions

SCHEDULER = """\
# HELP foliot_both_total Both. Unit: x.
# TYPE foliot_both_total counter
foliot_both_total 1
# HELP foliot_time_seconds Times. Unit: seconds.
# TYPE foliot_time_seconds histogram
foliot_time_seconds_bucket{method="a{b",le="+Inf"} 2
foliot_time_seconds_sum{method="a{b"} 0.5
foliot_time_seconds_count{method="a{b"} 2
"""
GATEWAY = """\
# HELP foliot_both_total Both, in other words. Unit: x.
# TYPE foliot_both_total counter
foliot_both_total{path="/x y"} 2
# HELP foliot_gateway_count A gauge. Unit: x.
# TYPE foliot_gateway_count gauge
foliot_gateway_count 3
"""


def test_each_metric_is_described_once_and_its_samples_stand_together() -> None:
    assert (
        merge_expositions({"scheduler": SCHEDULER, "gateway": GATEWAY})
        == """\
# HELP foliot_both_total Both. Unit: x.
# TYPE foliot_both_total counter
foliot_both_total{component="scheduler"} 1
foliot_both_total{component="gateway",path="/x y"} 2
# HELP foliot_gateway_count A gauge. Unit: x.
# TYPE foliot_gateway_count gauge
foliot_gateway_count{component="gateway"} 3
# HELP foliot_time_seconds Times. Unit: seconds.
# TYPE foliot_time_seconds histogram
foliot_time_seconds_bucket{component="scheduler",method="a{b",le="+Inf"} 2
foliot_time_seconds_sum{component="scheduler",method="a{b"} 0.5
foliot_time_seconds_count{component="scheduler",method="a{b"} 2
"""
    )


def test_of_no_component_there_is_nothing() -> None:
    assert merge_expositions({}) == ""
    assert merge_expositions({"gateway": ""}) == ""
