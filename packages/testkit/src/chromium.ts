/**
 * Starts Debian's Chromium, controlled by playwright-core. The browser ends with this process,
 * because playwright controls it over a pipe of this process.
 */
import { existsSync } from 'node:fs'
import { chromium } from 'playwright-core'
import type { Browser } from 'playwright-core'

const places = [
  '/usr/bin/chromium-headless-shell',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
]

/** Starts a headless browser. Each user of a test gets its own context: `browser.newContext()`. */
export async function startChromium(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM_PATH ?? places.find((place) => existsSync(place))
  if (executablePath === undefined) {
    throw new Error('unable to start Chromium; it is not installed (Debian: apt-get install chromium-headless-shell)')
  }
  return chromium.launch({
    executablePath,
    args: [
      // Chromium's sandbox does not work for the root user, and /dev/shm is too small in
      // containers.
      '--no-sandbox',
      '--disable-dev-shm-usage',
      // Without a graphics card, Chromium would compute every frame twice, in its software renderer
      // SwiftShader.
      '--disable-gpu',
      // Turn off the browser's background requests, because tests run without a network.
      '--disable-background-networking',
      '--disable-component-update',
      '--no-first-run',
    ],
    timeout: 30_000,
  })
}
