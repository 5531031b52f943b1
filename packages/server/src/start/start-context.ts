/**
 * The context of every start function. Parts are added to `lifecycle` in the order in which they
 * start.
 */
import type { Config } from '../config/config.ts'
import type { Clock } from '../support/clock.ts'
import type { Lifecycle } from '../support/lifecycle.ts'
import type { Logger } from '../support/logger.ts'
import type { Metrics } from '../support/metrics.ts'

export interface StartContext {
  readonly config: Config
  readonly logger: Logger
  readonly clock: Clock
  readonly lifecycle: Lifecycle
  readonly metrics: Metrics
  /** Id of this run of the server. Two servers, and two runs of one server, have different ids. */
  readonly bootId: string
}
