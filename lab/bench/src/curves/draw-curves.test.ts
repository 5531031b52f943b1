/**
 * Checks that the committed plots and tables of docs/performance match the committed measurements.
 * So no plot, table or measurement can be edited alone.
 */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { makeDrawing, replaceSection } from './draw-curves.ts'

const folder = fileURLToPath(new URL('../../../../docs/performance', import.meta.url))
const hint = 'draw again with: npm run bench -- --draw'

describe('the performance documentation', () => {
  const { plots, section } = makeDrawing(folder)

  it('docs/performance contains exactly the plots that its measurements produce', () => {
    expect(
      readdirSync(folder)
        .filter((name) => name.endsWith('.svg'))
        .sort(),
      hint,
    ).toEqual([...plots.keys()].sort())
    for (const [name, svg] of plots)
      expect(readFileSync(join(folder, name), 'utf8') === svg, `${name}: ${hint}`).toBe(true)
  })

  it('docs/performance.md shows the figures of the committed measurements', () => {
    const page = readFileSync(`${folder}.md`, 'utf8')
    expect(replaceSection(page, section) === page, hint).toBe(true)
  })

  it('the generated text cannot be inserted into a page without marking comments', () => {
    expect(replaceSection('# A page', 'text')).toBeUndefined()
  })
})
