/**
 * Checks the language of comments and test titles against the limits in CONTRIBUTING.md, "How we
 * write". A file that differs from the base commit must have no finding. All other files together
 * may have as many as `scripts/words-budget.json` allows; this budget may only become smaller.
 *
 *   node scripts/check-words.mjs               check, as `npm run check` does
 *   node scripts/check-words.mjs --list PATH   print each finding in files below PATH
 *   node scripts/check-words.mjs --count       print the counts of the whole tree
 *   node scripts/check-words.mjs --sample SEED print 60 comments and 60 test titles, drawn by the seed,
 *                                              with the place and the blocks that a reader sees around them
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folders = ['packages', 'apps', 'lab', 'tests', 'scripts']
const skippedFolders = new Set(['node_modules', 'dist', 'results', 'data', 'fixtures', '.setup'])
/**
 * Words that comments and titles must not contain: they name no actor, or belong to another style
 * of writing.
 */
const manneredWords =
  /\b(whoever|whom|somebody|nobody|anybody|meanwhile|anew|stands|beside|(?:is|are) told|tells|said|hears|heard|roads?|for good|goes on|at hand|owed|tends?)\b/gi
const vagueStart = /^(What|Who|Whoever|Whose|Whom|Whatever|Those|Of|Told)\b/
const titleWordsMax = 16

/** Files that are not checked, because they must contain these words. */
const exempt = new Set(['scripts/check-words.mjs'])

function* sourceFiles(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (skippedFolders.has(entry.name)) continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* sourceFiles(path)
    else if (/[.](ts|tsx|mjs|mts)$/.test(entry.name) && !/[.]d[.]ts$/.test(entry.name)) yield path
  }
}

/**
 * Returns the comments of a file. Line comments that follow each other are joined, because a reader
 * reads them as one text.
 * @returns {{line: number, text: string}[]}
 */
function readComments(source) {
  const comments = []
  const seen = new Set()
  const lineOf = (position) => source.getLineAndCharacterOfPosition(position).line + 1
  const take = (ranges = []) => {
    for (const { pos, end, kind } of ranges) {
      if (seen.has(pos)) continue
      seen.add(pos)
      const raw = source.text.slice(pos, end)
      const isLine = kind === ts.SyntaxKind.SingleLineCommentTrivia
      const text = isLine
        ? raw.replace(/^\/\/\s?/, '')
        : raw
            .replace(/^\/\*+|\*+\/$/g, '')
            .split('\n')
            .map((part) => part.replace(/^\s*\*\s?/, ''))
            .join('\n')
      const line = lineOf(pos)
      const before = comments.at(-1)
      if (isLine && before?.isLine && before.lastLine === line - 1) {
        before.text += ` ${text.trim()}`
        before.lastLine = line
      } else comments.push({ line, lastLine: lineOf(end), text: text.trim(), isLine })
    }
  }
  const visit = (node) => {
    take(ts.getLeadingCommentRanges(source.text, node.getFullStart()))
    take(ts.getTrailingCommentRanges(source.text, node.getEnd()))
    node.getChildren(source).forEach(visit)
  }
  visit(source)
  return comments
    .filter(({ text }) => text !== '' && !/^(eslint|@ts-|biome|prettier|v8 ignore|#)/.test(text))
    .sort((left, right) => left.line - right.line)
}

/**
 * Returns the test titles of a file. `whole` also contains the titles of the blocks around a test,
 * as the test runner shows it.
 * @returns {{line: number, text: string, whole: string, isBlock: boolean}[]}
 */
function readTitles(source) {
  const titles = []
  const visit = (node, around) => {
    let within = around
    if (ts.isCallExpression(node)) {
      const callee = node.expression.getText(source).replace(/\s+/g, '')
      const [title] = node.arguments
      const isTitle = title !== undefined && (ts.isStringLiteralLike(title) || ts.isTemplateExpression(title))
      if (
        isTitle &&
        /^(it|test|describe)\b/.test(callee) &&
        !/^(it|test|describe)\.(each|skipIf|runIf)$/.test(callee)
      ) {
        const text = title.getText(source).slice(1, -1)
        const isBlock = callee.startsWith('describe')
        titles.push({
          line: source.getLineAndCharacterOfPosition(title.pos).line + 1,
          text,
          whole: [...around, text].join(' > '),
          isBlock,
        })
        if (isBlock) within = [...around, text]
      }
    }
    ts.forEachChild(node, (child) => visit(child, within))
  }
  visit(source, [])
  return titles
}

const countWords = (text) => text.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length
const withoutIds = (title) => title.replace(/\[[A-Z0-9, ·]+\]\s*/g, '')

function readFile(path) {
  const name = relative(root, path)
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
  const comments = exempt.has(name) ? [] : readComments(source)
  const titles = /[.](test|suite)[.]tsx?$|-suite[.]ts$/.test(name) ? readTitles(source) : []
  const findings = []
  for (const { line, text } of comments) {
    for (const [word] of text.matchAll(manneredWords)) findings.push({ kind: 'word', line, why: `“${word}”`, text })
    if (vagueStart.test(text)) findings.push({ kind: 'start', line, why: `begins with “${text.split(/\s/)[0]}”`, text })
  }
  for (const { line, text } of titles) {
    const words = [...withoutIds(text).matchAll(manneredWords)]
    if (words.length > 0) findings.push({ kind: 'title', line, why: `“${words[0][0]}”`, text })
    const length = countWords(withoutIds(text))
    if (length > titleWordsMax) findings.push({ kind: 'length', line, why: `${length} words`, text })
  }
  return { name, lines: source.text.split('\n'), comments, titles, findings }
}

function count(files) {
  const comments = files.flatMap((file) => file.comments)
  const titles = files.flatMap((file) => file.titles)
  const findings = files.flatMap((file) => file.findings)
  const of = (kind) => findings.filter((finding) => finding.kind === kind).length
  const words = comments.reduce((sum, { text }) => sum + countWords(text), 0)
  const titleWords = titles.reduce((sum, { text }) => sum + countWords(withoutIds(text)), 0)
  return {
    comments: comments.length,
    wordsOfComments: words,
    manneredPerThousandWords: Number(((of('word') / words) * 1_000).toFixed(2)),
    vagueStartsPercent: Number(((of('start') / comments.length) * 100).toFixed(2)),
    titles: titles.length,
    manneredTitlesPercent: Number(((of('title') / titles.length) * 100).toFixed(2)),
    wordsPerTitle: Number((titleWords / titles.length).toFixed(2)),
    longTitles: of('length'),
    findings: findings.length,
  }
}

/**
 * Returns the path of the file of a comment, and the name declared on the line after the comment.
 */
function placeOf({ name, lines }, lastLine) {
  const declared =
    /^\s*(?:(?:export|default|declare|async|static|readonly|get|set|function\*?|const|let|class|interface|type)\s+)*([#\w]+)/.exec(
      lines[lastLine] ?? '',
    )?.[1]
  return declared === undefined || /^(?:if|for|return|await|import|this|switch|case|expect|while|try)$/.test(declared)
    ? name
    : `${name}, ${declared}`
}

const [mode, ...below] = process.argv.slice(2)
const isBelow = (path) => {
  const name = relative(root, path)
  return below.length === 0 || below.some((part) => name === part || name.startsWith(`${part.replace(/\/$/, '')}/`))
}
const sampleSize = 60
const draw = (texts, seed) =>
  texts
    .map((text, index) => ({ text, order: createHash('sha256').update(`${seed} ${index} ${text}`).digest('hex') }))
    .sort((left, right) => (left.order < right.order ? -1 : 1))
    .slice(0, sampleSize)
    .map(({ text }, index) => `${index + 1}. ${text.replace(/\s+/g, ' ')}`)
const paths = folders.flatMap((folder) => [...sourceFiles(join(root, folder))])
const files = (mode === '--sample' ? paths : paths.filter(isBelow)).map(readFile)
if (mode === '--list') {
  for (const { name, findings } of files) {
    for (const { line, why, text } of findings)
      console.log(`${name}:${line}: ${why}: ${text.replace(/\s+/g, ' ').slice(0, 200)}`)
  }
  console.log(JSON.stringify(count(files)))
} else if (mode === '--sample') {
  const comments = files.flatMap((file) =>
    file.comments.map(({ lastLine, text }) => `${placeOf(file, lastLine)}: ${text}`),
  )
  const titles = files.flatMap((file) => file.titles.filter(({ isBlock }) => !isBlock).map(({ whole }) => whole))
  console.log(`Comments\n\n${draw(comments, below[0]).join('\n')}\n`)
  console.log(`Test titles\n\n${draw(titles, below[0]).join('\n')}`)
} else if (mode === '--count') {
  console.log(JSON.stringify(count(files), undefined, 2))
} else {
  const budget = JSON.parse(readFileSync(join(root, 'scripts/words-budget.json'), 'utf8'))
  const changed = changedFiles(budget.since)
  const strict = files.filter(({ name }) => changed.has(name))
  const rest = files.filter(({ name }) => !changed.has(name))
  const problems = strict.flatMap(({ name, findings }) =>
    findings.map(({ line, why, text }) => `${name}:${line}: ${why}: ${text.replace(/\s+/g, ' ').slice(0, 120)}`),
  )
  const restFindings = rest.flatMap(({ findings }) => findings).length
  if (restFindings > budget.findings) {
    problems.push(`${restFindings} findings in files that did not change; the budget is ${budget.findings}`)
  }
  for (const problem of problems) console.error(problem)
  console.log(
    `${strict.length} changed files checked strictly; ${restFindings} of ${budget.findings} findings in the rest`,
  )
  if (problems.length > 0) process.exit(1)
}

/**
 * Returns the files that differ from a commit. Returns none without git or without that commit; the
 * budget then covers all files.
 */
function changedFiles(since) {
  try {
    const output = execFileSync('git', ['diff', '--name-only', since, '--'], { cwd: root, encoding: 'utf8' })
    return new Set(output.split('\n').filter(Boolean))
  } catch {
    return new Set()
  }
}
