/** A relay in a process of its own, for tests that kill or freeze it. */
import { Pool } from 'pg'
import { createChorusClient, startOutboxRelay } from '../index.ts'

const { DATABASE_URL = '', CHORUS_URL = '', CHORUS_SECRET = '', TIMEOUT_MS = '' } = process.env
startOutboxRelay({
  pool: new Pool({ connectionString: DATABASE_URL, max: 4 }),
  client: createChorusClient({ url: CHORUS_URL, secret: CHORUS_SECRET }),
  pollMs: 10,
  timeoutMs: Number(TIMEOUT_MS),
})
process.stdout.write('relay started\n')
