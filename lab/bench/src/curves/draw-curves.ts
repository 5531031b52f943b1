/**
 * Makes the plots and the section of docs/performance.md between two comments, from the points
 * alone. So neither can claim anything that was not measured, and a test notices a missing update.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fitModel } from '../model/cost-model.ts'
import { readCurves } from '../points/curves-file.ts'
import { drawPlots } from './draw-plots.ts'
import { mergeRounds } from '../points/point.ts'
import { writeSection } from './write-section.ts'

const begin = '<!-- curves: drawn by npm run bench -- --draw -->'
const end = '<!-- curves: end -->'

export interface Drawing {
  /** Plots as SVG, by file name. */
  readonly plots: ReadonlyMap<string, string>
  readonly section: string
}

/** Makes the plots and the section. `folder` holds curves.json. */
export function makeDrawing(folder: string): Drawing {
  const file = readCurves(join(folder, 'curves.json'))
  const points = mergeRounds(file.points)
  const model = fitModel(points)
  const plots = drawPlots(points, model)
  return { plots, section: writeSection({ file, points, model, plots: [...plots.keys()] }) }
}

/**
 * Writes the plots to the folder, and the section to the Markdown page of the same name if it has a
 * place for it. Returns the written paths.
 */
export function drawCurves(folder: string): string[] {
  const { plots, section } = makeDrawing(folder)
  const written: string[] = []
  for (const [name, svg] of plots) {
    writeFileSync(join(folder, name), svg)
    written.push(join(folder, name))
  }
  const page = `${folder}.md`
  const text = existsSync(page) ? readFileSync(page, 'utf8') : ''
  const replaced = replaceSection(text, section)
  if (replaced !== undefined) {
    writeFileSync(page, replaced)
    written.push(page)
  }
  return written.map((path) => relative(process.cwd(), path))
}

/** Replaces the section in a page. Returns undefined if the page has no place for it. */
export function replaceSection(text: string, section: string): string | undefined {
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from === -1 || to < from) return undefined
  return `${text.slice(0, from + begin.length)}\n${section}\n${text.slice(to)}`
}
