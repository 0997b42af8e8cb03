// Looks at the storefront in Chromium and prints what is wrong with it, as a
// JSON list: in light and dark, on a desk and on a phone, in each of its states.
//
//   node storefront.mjs '{"url", "shots"}'
//
// url serves the states; shots is the folder for a screenshot of each.
import path from "node:path";
import { chromium } from "playwright-core";

const { url, shots } = JSON.parse(process.argv[2]);
const states = { full: 6, draining: 1, empty: 0, many: 60, long: 2 }; // offers in each
const widths = { desk: 1280, phone: 360 };
const wrong = [];

// Text has to stand out from what is behind it by 4.5, large text by 3, as
// WCAG 2.2 says at level AA. The colours come as the browser computed them.
function faint() {
  const channels = (css) => {
    const [r, g, b, a = 1] = css.match(/[\d.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const luminance = ([r, g, b]) => {
    const [R, G, B] = [r, g, b].map((c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const { rgb, a } = channels(getComputedStyle(e).backgroundColor);
      if (a === 1) return rgb;
      if (a !== 0) throw new Error("a ground that shines through cannot be judged");
    }
    throw new Error("nothing is behind the text");
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = texts.nextNode()); ) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("script") || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [light, dark] = [luminance(channels(style.color).rgb), luminance(behind(element))].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)} for ${JSON.stringify(node.data.trim().slice(0, 30))}`);
  }
  return found;
}

// What Tab reaches, from the top to where it leaves the page, and whether each
// shows that it is reached.
async function walk(page) {
  const reached = [];
  for (;;) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const e = document.activeElement;
      if (!e || e === document.body) return null;
      const style = getComputedStyle(e);
      const box = e.getBoundingClientRect();
      return {
        what: e.tagName, text: e.textContent, offer: e.closest(".offer")?.id,
        ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
        seen: box.top < innerHeight && box.bottom > 0,
      };
    });
    if (!at) return reached;
    reached.push(at);
    if (reached.length > 1000) throw new Error("Tab never leaves the page");
  }
}

async function keyboard(page, say) {
  const reached = await walk(page);
  for (const at of reached) {
    if (!at.ring || !at.seen) say(`no focus to be seen at ${at.what} ${JSON.stringify(at.text)}`);
  }
  const tags = (offer) => reached.filter((at) => at.offer === offer).map((at) => at.what);
  for (const offer of await page.$$(".offer")) {
    const id = await offer.getAttribute("id");
    const want = (await offer.$(".command")) ? "A BUTTON" : "A";
    if (tags(id).join(" ") !== want) say(`Tab reaches ${JSON.stringify(tags(id))} of offer ${id}, want ${want}`);
  }
}

// A button, pressed by Enter, puts what it is for on the clipboard, and says so.
async function copies(page, say) {
  for (const box of (await page.$$(".command")).slice(0, 8)) {
    const want = await box.$eval("code", (code) => code.textContent);
    await page.evaluate(() => navigator.clipboard.writeText("nothing"));
    const button = await box.$("button");
    await button.press("Enter");
    await page.waitForFunction((b) => b.textContent.startsWith("Copied"), button, { timeout: 2000 }).catch(() => say("a button does not say that it copied"));
    const got = await page.evaluate(() => navigator.clipboard.readText());
    if (got !== want || !want) say(`copied ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
    if (!(await page.textContent("[role=status]"))) say("the copy is not announced");
  }
}

async function looks(page, state, say) {
  const [inner, scroll] = await page.evaluate(() => [document.documentElement.clientWidth, document.documentElement.scrollWidth]);
  if (scroll > inner) say(`it is ${scroll} px wide in a window of ${inner}`);
  for (const cut of await page.$$eval("body *", (all) =>
    all.filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline" && !e.matches(".hidden")).map((e) => e.outerHTML.slice(0, 80)),
  )) {
    say(`its content is wider than it: ${cut}`);
  }
  for (const what of await page.evaluate(faint)) say(`too faint: ${what}`);
  const offers = await page.locator(".offer").count();
  if (offers !== states[state]) say(`it has ${offers} offers, want ${states[state]}`);
  const empty = await page.getByRole("heading", { name: "Nothing is for sale right now" }).count();
  if ((empty === 1) !== (states[state] === 0)) say("it is not right about there being nothing");
  if (state === "draining" && !(await page.getByText(/^Stops .* UTC, in 2\d minutes\./).isVisible())) say("it does not say when the drain ends");
}

// Without scripts there is all but the buttons, which would do nothing.
async function plain(browser) {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`${url}/full`);
  if ((await page.locator(".offer").count()) !== states.full) wrong.push("without scripts: offers are missing");
  if (await page.locator("button:visible").count()) wrong.push("without scripts: there are buttons");
  await context.close();
}

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
for (const state of Object.keys(states)) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [name, width] of Object.entries(widths)) {
      const say = (what) => wrong.push(`${state}, ${colorScheme}, ${name}: ${what}`);
      const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme, permissions: ["clipboard-read", "clipboard-write"] });
      const page = await context.newPage();
      page.on("console", (m) => say(`on the console: ${m.text()}`));
      page.on("pageerror", (e) => say(`an error: ${e.message}`));
      page.on("request", (r) => r.url() === `${url}/${state}` || say(`it loads ${r.url()}`));
      await page.goto(`${url}/${state}`);
      await page.screenshot({ path: path.join(shots, `${state}-${colorScheme}-${name}.png`), fullPage: true });
      await looks(page, state, say);
      if (colorScheme === "light") await copies(page, say);
      await page.reload(); // back to the top, for Tab
      await keyboard(page, say);
      await context.close();
    }
  }
}
await plain(browser);
await browser.close();
console.log(JSON.stringify(wrong));
