/**
 * Context that every start function gets. Each part is added to `lifecycle` when it has started, so
 * that the parts stop in reverse order.
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
  /**
   * Id of this run of the server. It differs between servers, and between two runs of one server.
   */
  readonly bootId: string
}
