
const said = document.getElementById("said");
for (const button of document.querySelectorAll("button.copy")) {
  const code = button.closest(".command").querySelector("code");
  const word = button.querySelector(".word");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Pages without TLS have no clipboard of their own.
      getSelection().selectAllChildren(code);
      if (!document.execCommand("copy")) return;
    }
    word.textContent = "Copied";
    said.textContent = "Copied to the clipboard";
    setTimeout(() => {
      word.textContent = "Copy";
      said.textContent = "";
    }, 2000);
  });
}
