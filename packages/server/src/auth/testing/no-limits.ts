/** Settings with every rate limit off, for tests of other subjects and tests that set one limit. */
import type { LimitSettings } from '../limits.ts'

export const noLimits: LimitSettings = {
  limitSends: 0,
  limitRequests: 0,
  limitKeyRequests: 0,
  limitMembers: 0,
  limitStrangers: 0,
  limitSignIns: 0,
  limitSignInsAddress: 0,
  limitNewTokenUsers: 0,
  limitConnections: 0,
  limitConnects: 0,
  limitConnectsAddress: 0,
}
