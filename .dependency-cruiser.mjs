/**
 * The import arrows of ARCHITECTURE.md, each with its reason, and the check that nothing imports in a circle (types
 * included: a knot of types is as hard to read as a knot of code).
 */
const test = '[.]test[.]tsx?$'

/** The parts that a command joins. */
const parts = [
  'auth',
  'keys',
  'tokens',
  'accounts',
  'hook',
  'log',
  'database',
  'catch-up',
  'delivery',
  'bus',
  'health',
  'live',
  'jobs',
  'erasure',
  'redis',
  'support',
  'config',
]

/** Inside the server: `from` may import only these places of the server, besides itself. */
function serverArrow(from, allowed, comment) {
  const own = from.endsWith('.ts')
    ? `^packages/server/src/${from.replace('.', '[.]')}$`
    : `^packages/server/src/${from}/`
  const may = allowed.map((place) => (place.endsWith('.ts') ? `${place.replace('.', '[.]')}$` : `${place}/`))
  return {
    name: `server-${from.replace('.ts', '')}`,
    comment,
    severity: 'error',
    // A test may join the parts that a command joins.
    from: { path: own, pathNot: [test, '[.]suite[.]ts$', '/testing/'] },
    to: { path: '^packages/server/src/', pathNot: [own, `^packages/server/src/(${may.join('|')})`] },
  }
}

/** Between packages: `from` may not import `to`. */
function packageArrow(name, from, to, comment) {
  return { name, comment, severity: 'error', from: { path: from }, to: { path: to } }
}

export default {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Files that import each other can only be understood together. Move what both need into a third file.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'not-to-unresolvable',
      comment: 'The import leads nowhere.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true, pathNot: '^virtual:' },
    },
    {
      name: 'not-from-source-to-test',
      comment: 'What ships must not need what tests it.',
      severity: 'error',
      from: { path: '^(packages|apps)/[^/]+/src/', pathNot: [test, '/testing/', '[.]suite[.]ts$'] },
      to: { path: [test, '/testing/', '[.]suite[.]ts$'] },
    },
    {
      name: 'not-to-dev-dependency',
      comment: 'A package that runs must list what it imports under dependencies, or a production install breaks.',
      severity: 'error',
      from: {
        path: '^packages/(protocol|server|client|react|backend)/src/',
        pathNot: [test, '/testing/', '[.]suite[.]ts$'],
      },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['npm', 'npm-peer', 'type-only'] },
    },

    packageArrow(
      'protocol-imports-nothing-of-ours',
      '^packages/protocol/',
      '^(packages/(?!protocol/)|apps/|tests/|lab/)',
      'The wire is the bottom: everything imports it.',
    ),
    packageArrow(
      'server-imports-protocol-only',
      '^packages/server/',
      '^(packages/(?!protocol/|server/|testkit/)|apps/|tests/|lab/)',
      'Server and client meet on the wire and nowhere else, so that a foreign client has the same chances.',
    ),
    {
      name: 'server-tests-start-real-parts',
      comment:
        'What ships knows nothing of the testkit. A test of the server may start a real Redis or Postgres with it.',
      severity: 'error',
      from: { path: '^packages/server/', pathNot: [test, '/testing/'] },
      to: { path: '^packages/testkit/' },
    },
    packageArrow(
      'client-imports-protocol-only',
      '^packages/client/',
      '^(packages/(?!protocol/|client/)|apps/|tests/|lab/)',
      'Server and client meet on the wire and nowhere else.',
    ),
    packageArrow(
      'react-imports-client-only',
      '^packages/react/',
      '^(packages/(server|testkit)/|apps/|tests/|lab/)',
      'Hooks hold no logic of their own: they look at the client.',
    ),
    {
      name: 'backend-imports-protocol-only',
      comment:
        'Integrators install it in their own back ends. It talks to the server over the wire alone; its tests may start a real Postgres.',
      severity: 'error',
      from: { path: '^packages/backend/', pathNot: [test, '/testing/'] },
      to: { path: '^(packages/(?!protocol/|backend/)|apps/|tests/|lab/)' },
    },
    {
      name: 'backend-brings-no-database-driver',
      comment: 'The outbox runs statements through the client that the integrator passes: any driver, any version.',
      severity: 'error',
      from: { path: '^packages/backend/src/', pathNot: [test, '/testing/', '[.]suite[.]ts$'] },
      to: { path: ['^node_modules/(?!jose/)', '^node_modules/@types/pg/'] },
    },
    packageArrow(
      'apps-import-react-and-client-only',
      '^apps/',
      '^(packages/(protocol|server|testkit)/|tests/|lab/)',
      'The application is built with the public SDK, so that anybody could have built it.',
    ),
    {
      name: 'apps-stand-alone',
      comment: 'Applications share packages, not each other.',
      severity: 'error',
      from: { path: '^apps/([^/]+)/' },
      to: { path: '^apps/', pathNot: '^apps/$1/' },
    },
    packageArrow(
      'testkit-imports-server-and-client',
      '^packages/testkit/',
      '^(packages/react/|apps/|tests/|lab/)',
      'The testkit starts servers and talks to them; it knows no application.',
    ),
    packageArrow(
      'tests-import-testkit',
      '^(tests|lab)/',
      '^(packages/(server|react)/|apps/)',
      'What needs several packages goes through real processes and the public wire, by way of the testkit.',
    ),

    {
      name: 'client-runs-in-browsers',
      comment: 'Only what is exported from @chorus/client/node may use Node itself.',
      severity: 'error',
      from: {
        path: '^packages/client/src/',
        pathNot: [test, '/testing/', '[.]suite[.]ts$', '^packages/client/src/(node|store/store-file)[.]ts$'],
      },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'postgres-drivers-live-in-database',
      comment: 'Only database/ opens connections, so that every session has the settings that SET1 promises.',
      severity: 'error',
      from: { path: '^packages/server/src/', pathNot: ['^packages/server/src/database/', test] },
      to: { path: ['^node_modules/(pg|@electric-sql/pglite)/', '^node_modules/@types/pg/'] },
    },
    {
      name: 'sql-is-run-by-six-folders',
      comment:
        'A change of a table means reading database/, log/, accounts/, keys/, jobs/ and erasure/. All other folders call their functions.',
      severity: 'error',
      from: {
        path: '^packages/server/src/',
        pathNot: [
          '^packages/server/src/(database|log|accounts|keys|jobs|erasure|start|operator-commands)/',
          '^packages/server/src/[^/]+$',
          test,
          '/testing/',
        ],
      },
      to: {
        path: '^packages/server/src/database/',
        pathNot: '/database/(database|database-errors|canary|installation)[.]ts$',
      },
    },
    {
      name: 'catch-up-hides-its-caches',
      comment:
        'A cached change or page may be sent only with a proof that covers it and after later deletions. CatchUp checks both, so nothing else may read a cache.',
      severity: 'error',
      from: { path: '^packages/server/src/', pathNot: ['^packages/server/src/catch-up/', test, '/testing/'] },
      to: {
        path: '^packages/server/src/catch-up/',
        pathNot: '/catch-up/(catch-up|membership-proof|replay|served-log)[.]ts$',
      },
    },
    {
      name: 'catch-up-creates-the-proofs',
      comment: 'A proof of membership comes from a read that tested it. Other folders pass proofs on, by type.',
      severity: 'error',
      from: { path: '^packages/server/src/', pathNot: ['^packages/server/src/catch-up/', test, '/testing/'] },
      to: { path: '^packages/server/src/catch-up/membership-proof[.]ts$', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'socket-io-lives-in-socket',
      comment:
        'Socket.IO carries connections and frames on this server. Nothing else may depend on it; the canary is a client.',
      severity: 'error',
      from: { path: '^packages/server/src/', pathNot: ['^packages/server/src/(socket|canary)/', test] },
      to: { path: '^node_modules/(socket[.]io|engine[.]io|ws)/' },
    },
    {
      name: 'fastify-lives-in-http',
      comment: 'Commands and parts do not know which transport a request came by.',
      severity: 'error',
      from: { path: '^packages/server/src/(?!http/|auth/session-)', pathNot: test },
      to: { path: '^node_modules/(fastify|@fastify/[^/]+)/' },
    },

    serverArrow('support', [], 'Errors, logger, metrics and clock import nothing else of the server.'),
    serverArrow('redis', ['support'], 'Commands to Redis, within limits; it knows none of the data that they carry.'),
    serverArrow('config', ['support'], 'Configuration is read once, by main and node, and passed on.'),
    serverArrow('database', ['support', 'config'], 'The engine knows no table of the chat.'),
    serverArrow('log', ['database', 'accounts', 'support', 'config'], 'The log is stored in the database.'),
    serverArrow('accounts', ['database', 'support', 'config'], 'Users and sessions are tables beside the log.'),
    serverArrow('keys', ['database', 'support', 'config'], 'API keys are tables of their own.'),
    serverArrow(
      'jobs',
      ['log', 'database', 'redis', 'support', 'config'],
      'Jobs consume the log; no request waits for them.',
    ),
    serverArrow(
      'erasure',
      ['delivery', 'jobs', 'log', 'keys', 'accounts', 'database', 'support', 'config'],
      'The erasure of a user changes the log and the tables, and announces what it changed.',
    ),
    serverArrow(
      'auth',
      ['redis', 'support', 'config'],
      'Checks get what they need from a command, so they can be tested alone.',
    ),
    serverArrow(
      'tokens',
      ['keys', 'accounts', 'auth', 'database', 'support', 'config'],
      'Tokens name users and sessions; who uses them does not matter.',
    ),
    serverArrow(
      'hook',
      ['support', 'config'],
      'The hook gets a question and returns a verdict; it knows no conversation, sender or table.',
    ),
    serverArrow('bus', ['redis', 'support', 'config'], 'The bus carries hints between servers and does not read them.'),
    serverArrow(
      'live',
      ['redis', 'support', 'config'],
      'Live values and presence have a store of their own and never read the log.',
    ),
    serverArrow(
      'health',
      ['redis', 'support', 'config'],
      'Detectors watch this server and its database, and know no client.',
    ),
    serverArrow('frames', ['support'], 'A frame is what leaves the server, whatever its source and its transport.'),
    serverArrow(
      'catch-up',
      ['frames', 'log', 'database', 'redis', 'support', 'config'],
      'What a client missed comes from the log and its caches, and does not depend on who receives it.',
    ),
    serverArrow(
      'delivery',
      ['catch-up', 'frames', 'bus', 'health', 'support', 'config'],
      'Feeds deliver in order; they get their reads as functions, and never see SQL.',
    ),
    serverArrow('commands', [...parts, 'frames'], 'A command joins the parts, and does not know how it was called.'),
    serverArrow(
      'dispatch',
      ['commands', ...parts],
      'Parses, weighs and counts a request, then calls its command; the same for every transport.',
    ),
    serverArrow(
      'connections',
      ['dispatch', 'commands', 'frames', ...parts],
      'Opens, catches up, moves and closes connections of every transport.',
    ),
    serverArrow(
      'socket',
      ['connections', 'dispatch', 'commands', 'frames', ...parts],
      'One transport; it knows no other.',
    ),
    serverArrow(
      'http',
      ['connections', 'dispatch', 'commands', 'frames', ...parts],
      'One transport; it knows no other. Server-Sent Events are a connection like any other.',
    ),
    serverArrow(
      'canary',
      ['commands', ...parts],
      'The canary is a client: what it tests it meets over the network only.',
    ),
    serverArrow(
      'operator-commands',
      ['keys', 'jobs', 'accounts', 'database', 'support', 'config'],
      'Operators manage what is stored; they need no running part of a server.',
    ),
    serverArrow(
      'start',
      ['socket', 'http', 'connections', 'dispatch', 'commands', 'frames', 'canary', 'operator-commands', ...parts],
      'Builds the server; only main imports it.',
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: ['/dist/', '^data/', '^docs/'] },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.check.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['source', 'import', 'node', 'types', 'default'],
      mainFields: ['module', 'main', 'types'],
      extensions: ['.ts', '.tsx', '.mjs', '.js', '.d.ts', '.json'],
    },
    skipAnalysisNotInRules: true,
  },
}
