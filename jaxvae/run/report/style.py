"""The style sheet of a run's report: light and dark, narrow and wide, screen and paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f8fa; --card: #ffffff; --ink: #1f2328; --quiet: #59636e; --rule: #d8dee4; --accent: #0a5c99;
  --shadow: 0 1px 2px rgb(31 35 40 / .06), 0 4px 16px rgb(31 35 40 / .05); --dim: none;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1318; --card: #181d24; --ink: #e8ecf1; --quiet: #98a4b1; --rule: #2d353f; --accent: #7cc0f5;
    --shadow: none; --dim: brightness(.94);
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 56px 32px 80px; }
header { margin-bottom: 40px; }
.over { margin: 0; color: var(--accent); font-size: 13px; font-weight: 600; letter-spacing: .08em;
  text-transform: uppercase; }
h1 { margin: 4px 0 10px; font-size: 40px; line-height: 1.15; font-weight: 650; letter-spacing: -.02em;
  overflow-wrap: anywhere; }
h2 { margin: 0 0 18px; font-size: 22px; font-weight: 620; letter-spacing: -.01em; }
.lead { margin: 0; max-width: 46em; color: var(--quiet); font-size: 19px; }
.quiet { color: var(--quiet); }
section { margin: 0 0 48px; }
section > p { max-width: 46em; }
nav ul { display: flex; flex-wrap: wrap; gap: 6px 22px; margin: 0 0 40px; padding: 14px 0; list-style: none;
  border-top: 1px solid var(--rule); border-bottom: 1px solid var(--rule); font-size: 15px; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
section { scroll-margin-top: 16px; }
.results { padding: 32px; background: var(--card); border-radius: 14px; box-shadow: var(--shadow); margin: 0 0 16px; }
.tiles { display: grid; gap: 28px 32px; margin: 0; }
.tiles.large { grid-template-columns: repeat(auto-fit, minmax(min(100%, 205px), 1fr)); }
.tiles.small { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.tiles + .tiles { margin-top: 28px; padding-top: 22px; border-top: 1px solid var(--rule); }
dt { color: var(--quiet); font-size: 14px; }
dd { margin: 0; white-space: nowrap; font-variant-numeric: tabular-nums; }
dd b { font-size: 24px; font-weight: 600; letter-spacing: -.01em; }
.large b { display: block; font-size: 48px; line-height: 1.15; font-weight: 640; letter-spacing: -.03em; }
.note { margin: 28px 0 0; color: var(--quiet); font-size: 13.5px; }
.unit { color: var(--quiet); font-size: 15px; }
table { border-collapse: collapse; font-size: 14.5px; font-variant-numeric: tabular-nums; }
caption { padding-bottom: 6px; text-align: left; color: var(--quiet); font-size: 14px; }
th, td { padding: 6px 20px 6px 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
thead th { color: var(--quiet); font-weight: 500; }
.number { text-align: right; white-space: nowrap; }
.means { margin-left: .35em; font-size: 13px; opacity: .85; white-space: nowrap; }
.protocol summary span { font-weight: 400; font-size: 14.5px; margin-left: .5em; }
tbody th { font-weight: 400; }
.protocol th, .config th { width: 1%; font-weight: 400; color: var(--quiet); white-space: nowrap; }
.protocol tr:last-child > *, tbody tr:last-child > * { border-bottom: 0; }
.protocol td:last-child { padding-right: 0; overflow-wrap: anywhere; }
.config th { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 13px; }
.scroll { overflow-x: auto; }
.scroll + details { margin-top: 18px; }
.figures { display: grid; grid-template-columns: minmax(0, 1fr); gap: 24px; }
section > .figures, .scroll + .figures { margin-top: 24px; }
figure { margin: 0; background: var(--card); border-radius: 14px; box-shadow: var(--shadow); overflow: hidden; }
figure.narrow { display: grid; grid-template-columns: minmax(0, 560px) minmax(0, 1fr); align-items: center; }
.art { padding: 8px; overflow-x: auto; }
.raster .art { background: #fff; filter: var(--dim); }
.art img, .art svg { display: block; width: 100%; height: auto; }
.art svg { stroke-linejoin: round; stroke-linecap: butt; }
.parts { display: none; }
figcaption { padding: 2px 24px 20px; color: var(--quiet); font-size: 15px; max-width: 62em; }
figcaption b { color: var(--ink); font-weight: 600; }
.narrow figcaption { padding: 20px 28px; }
.ask { margin: 0; padding: 0; list-style: none; display: grid; gap: 4px 24px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.ask pre { margin: 4px 0 12px; padding: 10px 16px; }
pre, details { background: var(--card); border-radius: 12px; box-shadow: var(--shadow); padding: 16px 20px;
  margin: 0 0 16px; }
pre { overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 14px/1.6 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
summary { cursor: pointer; font-weight: 550; }
details[open] summary { margin-bottom: 12px; }
@media screen and (max-width: 800px) {
  main { padding: 32px 16px 48px; }
  h1 { font-size: 30px; }
  .lead { font-size: 17px; }
  .results { padding: 22px 20px; }
  figure.narrow { grid-template-columns: minmax(0, 1fr); }
  .narrow figcaption { padding: 2px 18px 16px; }
  figcaption { padding: 2px 18px 16px; }
  /* Charts stand below each other; pictures in rows keep a size that can be read, and are moved sideways. */
  /* Not display: none, under which what is drawn again from it loses its clipping. */
  .parted .whole { position: absolute; width: 0; height: 0; overflow: hidden; }
  .parts { display: grid; grid-template-columns: minmax(0, 1fr); gap: 12px; }
  .art .strip { width: 760px; }
  .wide:not(.parted) .art > svg, .wide:not(.parted) .art > img { width: 760px; max-width: none; }
}
@media screen and (max-width: 560px) {
  .large b { font-size: 40px; }
  nav ul { gap: 4px 16px; }
  dd { white-space: normal; }
}
@media print {
  :root { --page: #fff; --card: #fff; --ink: #000; --quiet: #444; --rule: #bbb; --accent: #000;
    --shadow: none; --dim: none; }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  header, section { margin-bottom: 20pt; }
  nav { display: none; }
  .results { padding: 14pt; }
  .tiles.large { grid-template-columns: repeat(auto-fit, minmax(130pt, 1fr)); gap: 12pt; }
  .large b { font-size: 28pt; }
  table { font-size: 9pt; }
  figure { padding: 0; }
  .results, pre, details { border: 1px solid var(--rule); }
  figure, .results, tr, pre { break-inside: avoid; }
  h2 { break-after: avoid; }
  .scroll { overflow: visible; }
  details::details-content { display: block; content-visibility: visible; block-size: auto; }
}
"""
