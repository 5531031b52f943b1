/**
 * Changes the wall clock of one server while it runs, with the library libfaketime (Debian package:
 * faketime). The monotonic clock stays correct, as on a real machine whose wall clock is changed.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeTempDir, removeTempDir } from '@chorus/testkit'

export const fakeTimeLibrary = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1'

export class FakeClock {
  readonly #folder = makeTempDir('clock')
  readonly #file = join(this.#folder, 'offset')

  constructor() {
    this.set(0)
  }

  get environment(): Readonly<Record<string, string>> {
    return {
      LD_PRELOAD: fakeTimeLibrary,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    }
  }

  /** Sets how many seconds the server's clock is ahead of the real time. */
  set(offsetSeconds: number): void {
    writeFileSync(this.#file, `${offsetSeconds < 0 ? '-' : '+'}${Math.abs(offsetSeconds)}\n`)
  }

  remove(): void {
    removeTempDir(this.#folder)
  }
}
