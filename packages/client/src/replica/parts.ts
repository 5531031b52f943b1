/** Dependencies of the functions that apply received data and read missing data. */
import type { ChangeNotice } from '../model/api.ts'
import type { Clock } from '../support/clock.ts'
import type { UserCache } from '../users/users.ts'
import type { HttpApi } from '../wire/http-api.ts'
import type { LocalCopy } from './local-copy.ts'
import type { ReplicaSaver } from './saver.ts'

export interface ReplicaParts {
  readonly me: string
  readonly api: HttpApi
  readonly clock: Clock
  readonly users: UserCache
  readonly copy: LocalCopy
  readonly saver: ReplicaSaver
  readonly onError: (error: unknown) => void
  /** Called after the change was applied to the local copy. */
  readonly onChange: (notice: ChangeNotice) => void
  /** Called when the local copy of a conversation reaches `seq`. */
  readonly onMoved: (conversation: string, seq: number) => void
}
