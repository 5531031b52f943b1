// Runs before the first paint, so a chosen theme never flashes. A file of its own because the content security policy refuses inline scripts.
try {
  const theme = localStorage.getItem('chorus.theme')
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
} catch {
  // Storage may be forbidden; the system's theme applies.
}
