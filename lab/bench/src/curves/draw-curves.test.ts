/**
 * Checks that the committed plots and tables match the committed points, so that neither is edited
 * alone.
 */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { makeDrawing, replaceSection } from './draw-curves.ts'

const folder = fileURLToPath(new URL('../../../../docs/performance', import.meta.url))
const hint = 'draw again with: npm run bench -- --draw'

describe('docs/performance', () => {
  const { plots, section } = makeDrawing(folder)

  it('contains exactly the plots of its points', () => {
    expect(
      readdirSync(folder)
        .filter((name) => name.endsWith('.svg'))
        .sort(),
      hint,
    ).toEqual([...plots.keys()].sort())
    for (const [name, svg] of plots)
      expect(readFileSync(join(folder, name), 'utf8') === svg, `${name}: ${hint}`).toBe(true)
  })

  it('has a page that matches the points', () => {
    const page = readFileSync(`${folder}.md`, 'utf8')
    expect(replaceSection(page, section) === page, hint).toBe(true)
  })

  it('finds no place for the section in a page without marks', () => {
    expect(replaceSection('# A page', 'text')).toBeUndefined()
  })
})
