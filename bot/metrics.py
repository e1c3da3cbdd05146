"""All metrics. Units stand in the names; labels never carry an id."""

from prometheus_client import Counter, Gauge, Histogram

LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

arrivals_total = Counter("tocsin_arrivals", "Items taken from the inbox", ["source", "kind"])
gaps_total = Counter("tocsin_gaps", "Stretches of a source that were not seen", ["source"])
screened_out_total = Counter("tocsin_screened_out", "Posts that the cheap screen dropped")
classified_total = Counter("tocsin_classified", "Posts that the transformer judged")
candidates_total = Counter("tocsin_candidates", "Posts taken for reports", ["category"])
classify_batch_seconds = Histogram("tocsin_classify_batch_seconds", "One inference batch", buckets=LATENCY_BUCKETS)
alerts_total = Counter("tocsin_alerts", "Alert revisions recorded, per View", ["kind", "level"])
record_seconds = Histogram("tocsin_record_seconds", "One recording transaction", buckets=LATENCY_BUCKETS)
store_retries_total = Counter("tocsin_store_retries", "Transactions tried again because the store was locked")
deliveries_total = Counter("tocsin_deliveries", "Deliveries settled", ["platform", "act", "state"])
duplicates_total = Counter("tocsin_duplicates_avoided", "Deliveries found already there by their id", ["platform"])
resent_unseen_total = Counter(
    "tocsin_resent_unseen", "Deliveries sent again although nobody could see whether they had arrived", ["platform"]
)
delivery_seconds = Histogram(
    "tocsin_delivery_seconds",
    "From queueing a delivery to the platform's answer",
    ["platform"],
    buckets=LATENCY_BUCKETS,
)
views_live = Gauge("tocsin_views_live", "Live provider sets, each with its own detector")
inbox_items = Gauge("tocsin_inbox_items", "Items waiting in the inbox")
stream_lag_seconds = Gauge("tocsin_stream_lag_seconds", "Wall clock less stream time")
source_live = Gauge("tocsin_source_live", "1 while a source is connected or read", ["source"])
source_quiet = Gauge("tocsin_source_quiet", "1 while a source is silent for much longer than usual", ["source"])
source_lag_seconds = Gauge(
    "tocsin_source_lag_seconds", "Wall clock less the time of a source's last item; NaN while not connected", ["source"]
)
source_per_second = Gauge("tocsin_source_items_per_second", "Items that a source sent over the last minute", ["source"])
source_dropped = Gauge("tocsin_source_dropped", "Bad items that a source has sent since the start", ["source"])
