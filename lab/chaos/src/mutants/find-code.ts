/**
 * Finds declarations and pieces of code in the syntax tree of a TypeScript file. Comments, layout,
 * semicolons, trailing commas and the kind of quotes make no difference.
 */
import ts from 'typescript'

export interface CodeMatch {
  readonly start: number
  readonly end: number
  /** Pieces of code that the pattern's `$` names matched, by name. */
  readonly bound: ReadonlyMap<string, string>
}

export function parseCode(path: string, text: string): ts.SourceFile {
  return ts.createSourceFile(path, text, ts.ScriptTarget.ESNext, true)
}

/**
 * Returns the declarations with this dotted path of names: `Feed.accept` means the declarations of
 * `accept` within those of `Feed`.
 */
export function findDeclarations(root: ts.Node, path: string): ts.Node[] {
  return path.split('.').reduce<ts.Node[]>((scopes, name) => scopes.flatMap((scope) => findNamed(scope, name)), [root])
}

function findNamed(scope: ts.Node, name: string): ts.Node[] {
  const found: ts.Node[] = []
  const visit = (node: ts.Node): void => {
    if (nameOf(node) === name) found.push(node)
    else ts.forEachChild(node, visit)
  }
  ts.forEachChild(scope, visit)
  return found
}

function nameOf(node: ts.Node): string | undefined {
  const isDeclaration =
    ts.isClassDeclaration(node) ||
    ts.isFunctionDeclaration(node) ||
    ts.isMethodDeclaration(node) ||
    ts.isAccessor(node) ||
    ts.isVariableDeclaration(node) ||
    ts.isPropertyDeclaration(node) ||
    ts.isPropertyAssignment(node)
  return isDeclaration ? node.name?.getText() : undefined
}

/**
 * Returns the position after the opening brace of a declared function; undefined if the declaration
 * is not a function with a body.
 */
export function findBodyStart(declaration: ts.Node): number | undefined {
  const value =
    ts.isVariableDeclaration(declaration) || ts.isPropertyAssignment(declaration)
      ? declaration.initializer
      : declaration
  if (value === undefined || !ts.isFunctionLike(value) || !('body' in value)) return undefined
  const { body } = value
  return body !== undefined && ts.isBlock(body) ? body.getStart() + 1 : undefined
}

/** Parses a pattern. It must be one expression or statement. */
export function parsePattern(text: string): ts.Node {
  const { statements } = parseCode('pattern.ts', `async function* pattern() {\n${text}\n}`)
  const [outer] = statements
  const body = outer !== undefined && ts.isFunctionDeclaration(outer) ? outer.body : undefined
  const [statement, second] = body?.statements ?? []
  if (statement === undefined || second !== undefined || statements.length > 1)
    throw new Error(`unable to read the pattern; it is not one expression or statement: ${text}`)
  if (!ts.isExpressionStatement(statement)) return statement
  // If the pattern is an object literal, it is written in parentheses, because a brace would
  // otherwise begin a block.
  return ts.isParenthesizedExpression(statement.expression) ? statement.expression.expression : statement.expression
}

/** Returns each place within `scope` that matches the pattern. */
export function findCode(scope: ts.Node, pattern: ts.Node): CodeMatch[] {
  const found: CodeMatch[] = []
  const visit = (node: ts.Node): void => {
    const bound = new Map<string, string>()
    if (isAlike(pattern, node, bound)) found.push({ start: node.getStart(), end: node.getEnd(), bound })
    else ts.forEachChild(node, visit)
  }
  ts.forEachChild(scope, visit)
  return found
}

function isAlike(pattern: ts.Node, node: ts.Node, bound: Map<string, string>): boolean {
  if (isPlaceholder(pattern)) {
    const before = bound.get(pattern.text)
    bound.set(pattern.text, node.getText())
    return before === undefined || before === node.getText()
  }
  if (pattern.kind !== node.kind) return false
  if (ts.isStringLiteral(pattern)) return pattern.text === (node as ts.StringLiteral).text
  const parts = partsOf(pattern)
  const others = partsOf(node)
  if (parts.length === 0 && others.length === 0) return pattern.getText() === node.getText()
  const last = parts.at(-1)
  if (last !== undefined && isRest(last)) {
    parts.pop()
    const rest = others.splice(parts.length)
    bound.set(last.getText(), node.getSourceFile().text.slice(rest[0]?.getStart() ?? 0, rest.at(-1)?.getEnd() ?? 0))
  }
  return parts.length === others.length && parts.every((part, index) => isAlike(part, others[index] as ts.Node, bound))
}

function isPlaceholder(pattern: ts.Node): pattern is ts.Identifier {
  return ts.isIdentifier(pattern) && pattern.text.startsWith('$')
}

/** Returns whether this node is `...$name`, at the end of a list. */
function isRest(pattern: ts.Node): boolean {
  return (ts.isSpreadAssignment(pattern) || ts.isSpreadElement(pattern)) && isPlaceholder(pattern.expression)
}

/** Returns the children of a node without those that depend on layout, such as semicolons. */
function partsOf(node: ts.Node): ts.Node[] {
  return node
    .getChildren()
    .filter(
      ({ kind }) =>
        kind !== ts.SyntaxKind.SemicolonToken && kind !== ts.SyntaxKind.CommaToken && kind !== ts.SyntaxKind.JSDoc,
    )
}
