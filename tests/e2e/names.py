"""The names that are kept from the originals although promtool would have chosen others.

This is the only list of them: whatever else promtool says about a scrape is a mistake of ours.
"""

from prometheus import promtool_check

NO_TOTAL = 'counter metrics should have "_total" suffix'
NOT_TOTAL = 'non-counter metrics should not have "_total" suffix'
NOT_COUNT = 'non-histogram and non-summary metrics should not have "_count" suffix'
CAMEL_CASE = "label names should be written in 'snake_case' not 'camelCase'"

# strongswan_sa_* carry localTS and remoteTS.
FIXED = {
    "connection_status_count": NOT_COUNT,
    "ipsec_in_bytes": NO_TOTAL,
    "ipsec_in_packets": NO_TOTAL,
    "ipsec_out_bytes": NO_TOTAL,
    "ipsec_out_packets": NO_TOTAL,
    "ovpn_sessions_total": NOT_TOTAL,
    "strongswan_sa_bytes_inbound": CAMEL_CASE,
    "strongswan_sa_bytes_outbound": CAMEL_CASE,
    "strongswan_sa_last_inbound_seconds": CAMEL_CASE,
    "strongswan_sa_last_outbound_seconds": CAMEL_CASE,
    "strongswan_sa_packets_inbound": CAMEL_CASE,
    "strongswan_sa_packets_outbound": CAMEL_CASE,
    "strongswan_sa_state": CAMEL_CASE,
    "strongswan_sessions_total": NOT_TOTAL,
}


def own_complaints(text):
    """What promtool finds wrong with a scrape (bytes or text), less what the originals' names make it say."""
    fixed = {f"{name} {complaint}" for name, complaint in FIXED.items()}
    return [line for line in promtool_check(text) if line not in fixed]
