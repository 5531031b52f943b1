/** The committed plots and tables are what the committed points draw: nobody may edit one without the other. */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { makeDrawing, replaceSection } from './draw-curves.ts'

const folder = fileURLToPath(new URL('../../../../docs/performance', import.meta.url))
const hint = 'draw again with: npm run bench -- --draw'

describe('docs/performance', () => {
  const { plots, section } = makeDrawing(folder)

  it('holds the plots of its points, and no others', () => {
    expect(
      readdirSync(folder)
        .filter((name) => name.endsWith('.svg'))
        .sort(),
      hint,
    ).toEqual([...plots.keys()].sort())
    for (const [name, svg] of plots)
      expect(readFileSync(join(folder, name), 'utf8') === svg, `${name}: ${hint}`).toBe(true)
  })

  it('is told by the page as the points tell it', () => {
    const page = readFileSync(`${folder}.md`, 'utf8')
    expect(replaceSection(page, section) === page, hint).toBe(true)
  })

  it('finds no place in a page that has none', () => {
    expect(replaceSection('# A page', 'text')).toBeUndefined()
  })
})
