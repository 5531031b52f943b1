/**
 * Provides the folder of an empty embedded database that tests copy, and removes it when the test
 * run ends.
 */
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Returns the folder of the template database.
 *
 * @param runner - process id of the test run, the parent of the test processes
 */
export function embeddedTemplateOf(runner: number): string {
  return join(tmpdir(), `chorus-test-template-${runner}`)
}

/** Removes the template database. Vitest's globalSetup calls this when the run ends. */
export function teardown(): void {
  rmSync(embeddedTemplateOf(process.pid), { recursive: true, force: true })
}
