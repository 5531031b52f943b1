/**
 * A histogram of latencies in constant memory. It has 64 logarithmic buckets per power of two of a
 * microsecond, so a percentile is at most 1.6 % above the true value. Its range is 1 µs to an hour;
 * values outside count in the first or last bucket.
 */
const subBuckets = 64
const subBits = 6
const powersMax = 32
const bucketsMax = powersMax * subBuckets

/** Summary of recorded latencies, in milliseconds. */
export interface LatencySummary {
  readonly count: number
  readonly p50Ms: number
  readonly p90Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

export class LatencyHistogram {
  readonly #counts = new Uint32Array(bucketsMax)
  #count = 0
  #maxMs = 0

  record(latencyMs: number): void {
    const us = Math.max(0, Math.round(latencyMs * 1_000))
    this.#counts[bucketOf(us)] = (this.#counts[bucketOf(us)] ?? 0) + 1
    this.#count++
    if (latencyMs > this.#maxMs) this.#maxMs = latencyMs
  }

  /**
   * Returns the latency that a share of `quantile` (0 to 1) of all recorded values do not exceed; 0
   * when nothing was recorded.
   */
  percentileMs(quantile: number): number {
    if (this.#count === 0) return 0
    let left = Math.ceil(this.#count * quantile)
    for (let bucket = 0; bucket < bucketsMax; bucket++) {
      left -= this.#counts[bucket] ?? 0
      if (left <= 0) return Math.min(upperEdgeUs(bucket) / 1_000, this.#maxMs)
    }
    return this.#maxMs
  }

  summary(): LatencySummary {
    return {
      count: this.#count,
      p50Ms: round(this.percentileMs(0.5)),
      p90Ms: round(this.percentileMs(0.9)),
      p99Ms: round(this.percentileMs(0.99)),
      maxMs: round(this.#maxMs),
    }
  }
}

function bucketOf(us: number): number {
  if (us < subBuckets) return us
  const power = Math.min(31 - Math.clz32(Math.min(us, 0x7fff_ffff)), powersMax - 1)
  return (power - subBits + 1) * subBuckets + ((us >>> (power - subBits)) - subBuckets)
}

function upperEdgeUs(bucket: number): number {
  if (bucket < subBuckets) return bucket
  const power = Math.floor(bucket / subBuckets) + subBits - 1
  return ((bucket % subBuckets) + subBuckets + 1) * 2 ** (power - subBits) - 1
}

const round = (ms: number): number => Math.round(ms * 1_000) / 1_000
