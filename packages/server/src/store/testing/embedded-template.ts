/** Where a run of tests keeps the empty embedded database that it copies, and what removes it when the run ends. */
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** @param runner - process id of the run, the parent of those that test */
export function embeddedTemplateOf(runner: number): string {
  return join(tmpdir(), `chorus-test-template-${runner}`)
}

/** For Vitest's globalSetup: called when the run ends. */
export function teardown(): void {
  rmSync(embeddedTemplateOf(process.pid), { recursive: true, force: true })
}
