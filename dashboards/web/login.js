// Sends the token as a header, never in an address; the server answers with a cookie that no script can read.
const form = document.getElementById("login");
const said = document.getElementById("said");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  said.textContent = "";
  const token = document.getElementById("token").value.trim();
  const headers = { authorization: `Bearer ${token}`, "fourmi-change": "login" };
  try {
    const answer = await fetch("/login", { method: "POST", headers });
    if (answer.ok) location.reload();
    else said.textContent = answer.status === 401 ? "That is not the token." : `It answered ${answer.status}.`;
  } catch {
    said.textContent = "It does not answer.";
  }
});
