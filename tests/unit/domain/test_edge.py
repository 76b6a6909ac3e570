"""Routes follow from what is deployed, and a domain belongs to one workload."""

from __future__ import annotations

import itertools

from holdfast.domain.clone import LikeSource
from holdfast.domain.edge import Route, Served, conflicts, routes
from holdfast.domain.workload import Domain, WorkloadSpec

NOTES = Served(
    domains=(Domain(name="www.notes.test", port=80), Domain(name="notes.test", port=80), Domain(name="a.test", port=9)),
    addresses=("10.0.0.3", "10.0.0.2"),
)
WIKI = Served(domains=(Domain(name="wiki.test", port=8080),), addresses=("fd00::2",))
DOWN = Served(domains=(Domain(name="down.test", port=80),))


def test_each_port_of_a_workload_is_a_route_to_all_of_its_instances() -> None:
    assert routes([NOTES]) == (
        Route(domains=("a.test",), upstreams=("10.0.0.2:9", "10.0.0.3:9")),
        Route(domains=("notes.test", "www.notes.test"), upstreams=("10.0.0.2:80", "10.0.0.3:80")),
    )


def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    assert routes([WIKI]) == (Route(domains=("wiki.test",), upstreams=("[fd00::2]:8080",)),)


def test_a_workload_that_nobody_serves_keeps_its_domains() -> None:
    assert routes([DOWN]) == (Route(domains=("down.test",), upstreams=()),)


def test_the_same_workloads_give_the_same_routes_in_whatever_order_they_come() -> None:
    assert len({routes(order) for order in itertools.permutations([NOTES, WIKI, DOWN, Served(domains=())])}) == 1


def test_a_domain_of_another_workload_is_refused_with_the_name_of_that_workload() -> None:
    asked = (Domain(name="notes.test", port=80), Domain(name="free.test", port=80))
    (problem,) = conflicts(asked, [("notes", NOTES.domains), ("wiki", WIKI.domains)])
    assert (problem.code, problem.details) == (
        "domain_conflict",
        {"domain": "notes.test", "other_workload": "notes"},
    )


def test_domains_make_other_containers_and_none_leave_the_hash_as_it_was() -> None:
    spec = WorkloadSpec(name="notes", image="notes:1", project="home")
    assert spec.config_hash == "ebd594644cd49dfb"
    assert (
        WorkloadSpec(name="notes", image="notes:1", project="home", domains=WIKI.domains).config_hash
        != "ebd594644cd49dfb"
    )


def test_what_is_configured_like_another_workload_leaves_the_domains_to_it() -> None:
    source = WorkloadSpec(name="wiki", image="wiki:1", project="wiki", domains=WIKI.domains)
    assert LikeSource(name="copy").spec(source).domains == ()
