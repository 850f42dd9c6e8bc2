"""Sentences and formats around planted values: a half to develop on, and a half that only the last measurement sees."""

import json
import random
import re
from collections.abc import Callable
from urllib.parse import quote

from private_values import Value

LANGUAGES = ("en", "sv", "de")
_PLACE = "\x00"
"""Stands for the value until the text is complete, so that its position is known."""

_DEVELOPED: dict[str, dict[str, tuple[str, ...]]] = {
    "email": {
        "en": ("Please write to {} about my parcel.", "My address is {}, thanks."),
        "sv": ("Skriv till {} om mitt paket.", "Min adress är {}, tack."),
        "de": ("Bitte schreiben Sie an {} wegen meines Pakets.", "Meine Adresse ist {}, danke."),
    },
    "phone": {
        "en": ("Call me at {} after lunch.", "You can reach me on {} today."),
        "sv": ("Ring mig på {} efter lunch.", "Du når mig på {} idag."),
        "de": ("Rufen Sie mich unter {} nach dem Mittag an.", "Telefonisch erreichen Sie mich unter {} heute."),
    },
    "card": {
        "en": ("I paid with card {} yesterday.", "The charge is on {}, please refund it."),
        "sv": ("Jag betalade med kort {} igår.", "Dra av det från {}, tack."),
        "de": ("Ich habe mit Karte {} bezahlt.", "Buchen Sie bitte von {} ab."),
    },
    "iban": {
        "en": ("Send the refund to {} please.", "My account: {}"),
        "sv": ("Sätt in pengarna på {} tack.", "Mitt konto: {}"),
        "de": ("Überweisen Sie das Geld auf {} bitte.", "Mein Konto: {}"),
    },
    "id_sv": {
        "en": ("My personnummer is {}.", "Born here, personnummer {}."),
        "sv": ("Mitt personnummer är {}.", "Jag heter Kim, personnummer {}."),
        "de": ("Meine Personnummer lautet {}.", "In Schweden habe ich das personnummer {}."),
    },
    "id_de": {
        "en": ("My German tax id is {}.", "Tax id: {}"),
        "sv": ("Mitt tyska skattenummer (Steuer-ID) är {}.", "Steuer-ID: {}"),
        "de": ("Meine Steuer-ID ist {}.", "Steuerliche Identifikationsnummer: {}"),
    },
    "id_us": {
        "en": ("My SSN is {}.", "Social security number {}."),
        "sv": ("Mitt SSN i USA är {}.", "Social security: {}"),
        "de": ("Meine SSN in den USA ist {}.", "Social Security Number {}."),
    },
    "id_gb": {
        "en": ("My NI number is {}.", "National insurance: {}"),
        "sv": ("Mitt brittiska NINO är {}.", "National insurance number {}."),
        "de": ("Meine britische NINO ist {}.", "National Insurance: {}"),
    },
    "id_es": {
        "en": ("My Spanish DNI is {}.", "NIE {} was on the form."),
        "sv": ("Mitt spanska DNI är {}.", "NIE {} stod på blanketten."),
        "de": ("Meine spanische DNI ist {}.", "Auf dem Formular stand NIE {}."),
    },
    "id_fr": {
        "en": ("My French social security number is {}.", "NIR {} on the card."),
        "sv": ("Mitt franska NIR är {}.", "Franskt nummer: {}"),
        "de": ("Meine französische NIR ist {}.", "Französische Nummer: {}"),
    },
    "network": {
        "en": ("The login came from {} at night.", "My device is {}, please unlock it."),
        "sv": ("Inloggningen kom från {} i natt.", "Min enhet är {}, lås upp den."),
        "de": ("Die Anmeldung kam von {} in der Nacht.", "Mein Gerät ist {}, bitte freischalten."),
    },
    "wallet": {
        "en": ("Send the coins to {} please.", "Wallet {} is mine."),
        "sv": ("Skicka mynten till {} tack.", "Plånboken {} är min."),
        "de": ("Senden Sie die Coins an {} bitte.", "Die Wallet {} gehört mir."),
    },
    "url_login": {
        "en": ("The database is postgres://{}@db.example/shop for now.", "Open https://{}@intern.example/ please."),
        "sv": ("Databasen är mysql://{}@db.example/butik nu.", "Öppna https://{}@intern.example/ tack."),
        "de": (
            "Die Datenbank ist mongodb://{}@db.example/laden derzeit.",
            "Öffnen Sie https://{}@intern.example/ bitte.",
        ),
    },
    "url_token": {
        "en": ("Log in with https://shop.example/in?token={} today.", "See https://api.example/v1?api_key={}&page=2"),
        "sv": ("Logga in med https://shop.example/in?token={} idag.", "Se https://api.example/v1?api_key={}&sida=2"),
        "de": (
            "Melden Sie sich mit https://shop.example/in?token={} an.",
            "Siehe https://api.example/v1?api_key={}&seite=2",
        ),
    },
    "password": {
        "en": ("My password is {} and it fails.", "password: {}"),
        "sv": ("Mitt lösenord är {} och det går inte.", "lösenord: {}"),
        "de": ("Mein Passwort ist {} und es geht nicht.", "Passwort: {}"),
    },
    "key": {
        "en": ("The key {} stopped working.", "We use {} in the shop."),
        "sv": ("Nyckeln {} slutade fungera.", "Vi använder {} i butiken."),
        "de": ("Der Schlüssel {} geht nicht mehr.", "Wir nutzen {} im Laden."),
    },
    "secret": {
        "en": ("The API key is {} for the shop.", "client secret: {}"),
        "sv": ("API-nyckeln är {} för butiken.", "hemlig nyckel: {}"),
        "de": ("Der API-Schlüssel ist {} für den Laden.", "Geheimschlüssel: {}"),
    },
}
_HELD_OUT: dict[str, dict[str, tuple[str, ...]]] = {
    "email": {
        "en": ("I ordered as {} last week, where is it?", "Cc {} on the reply, and hurry."),
        "sv": ("Jag beställde som {} förra veckan, var är det?", "Kopiera {} på svaret, fort."),
        "de": ("Ich habe als {} bestellt, wo bleibt es?", "Setzen Sie {} in Kopie, schnell."),
    },
    "phone": {
        "en": ("The courier should phone {} before delivery.", "Kim here. {} works best in the evening."),
        "sv": ("Budet ska ringa {} innan leverans.", "Kim här. {} funkar bäst på kvällen."),
        "de": ("Der Bote soll vorher {} anrufen.", "Kim hier. {} passt abends am besten."),
    },
    "card": {
        "en": ("It was declined: {} (exp 09/31).", "Use my other Visa, {} please"),
        "sv": ("Den nekades: {} (giltigt 09/31).", "Ta mitt andra Visa, {} tack"),
        "de": ("Sie wurde abgelehnt: {} (gültig bis 09/31).", "Nehmen Sie meine andere Visa, {} bitte"),
    },
    "iban": {
        "en": ("IBAN {} at the savings bank.", "Wire it over, {} is right."),
        "sv": ("IBAN {} på sparbanken.", "Betala ut det, {} stämmer."),
        "de": ("IBAN {} bei der Sparkasse.", "Zahlen Sie es aus, {} stimmt."),
    },
    "id_sv": {
        "en": ("The Swedish form wants a personal identity number, mine is {}.", "Kim Berg, {}, Lund."),
        "sv": ("Blanketten vill ha mitt pnr, det är {}.", "Kim Berg, {}, Lund."),
        "de": ("Das Formular will die schwedische Personnummer: {}.", "Kim Berg, {}, Lund."),
    },
    "id_de": {
        "en": ("For the German tax office: IdNr {}.", "Steuernummer? I have {} on the letter."),
        "sv": ("Till tyska skatteverket: IdNr {}.", "Steueridentifikationsnummer {} står i brevet."),
        "de": ("Fürs Finanzamt: IdNr. {}.", "Im Brief steht die Steuer-Identifikationsnummer {}."),
    },
    "id_us": {
        "en": ("They ask for the last four of my social security number, {}.", "Payroll needs it: {} (SSN)."),
        "sv": ("De frågar efter mitt social security number, {}.", "Lönen behöver SSN {} nu."),
        "de": ("Man fragt nach meiner Social Security Number, {}.", "Die Lohnstelle braucht SSN {} jetzt."),
    },
    "id_gb": {
        "en": ("Payslip says NINO {}.", "HMRC wrote to me, {} is the number."),
        "sv": ("På lönebeskedet står NINO {}.", "HMRC skrev till mig, {} är numret."),
        "de": ("Auf dem Lohnzettel steht NINO {}.", "HMRC schrieb mir, {} ist die Nummer."),
    },
    "id_es": {
        "en": ("The contract in Madrid lists {} as my DNI/NIE.", "NIF: {}"),
        "sv": ("Kontraktet i Madrid anger {} som mitt DNI/NIE.", "NIF: {}"),
        "de": ("Der Vertrag in Madrid nennt {} als meine DNI/NIE.", "NIF: {}"),
    },
    "id_fr": {
        "en": ("Carte Vitale: {}", "The clinic in Lyon has me as {}."),
        "sv": ("Carte Vitale: {}", "Kliniken i Lyon har mig som {}."),
        "de": ("Carte Vitale: {}", "Die Klinik in Lyon führt mich als {}."),
    },
    "network": {
        "en": ("Blocked client {} again this morning.", "The router log shows {}, that is mine."),
        "sv": ("Klienten {} spärrades igen.", "Routerns logg visar {}, det är jag."),
        "de": ("Der Client {} wurde wieder gesperrt.", "Im Log des Routers steht {}, das bin ich."),
    },
    "wallet": {
        "en": ("I paid from {} on Friday.", "donations: {}"),
        "sv": ("Jag betalade från {} i fredags.", "gåvor: {}"),
        "de": ("Ich habe am Freitag von {} bezahlt.", "Spenden: {}"),
    },
    "url_login": {
        "en": ("DATABASE_URL=postgresql://{}@10.0.0.5:5432/crm", "git clone https://{}@git.example/repo.git fails"),
        "sv": ("Köad via amqp://{}@mq.example:5672/ just nu", "git clone https://{}@git.example/repo.git går inte"),
        "de": (
            "redis://{}@cache.example:6379/0 antwortet nicht",
            "git clone https://{}@git.example/repo.git geht nicht",
        ),
    },
    "url_token": {
        "en": (
            "The reset link https://id.example/reset?lang=en&auth_token={} expired.",
            "https://cdn.example/a.zip?sig={}",
        ),
        "sv": (
            "Länken https://id.example/reset?lang=sv&access_token={} gick ut.",
            "https://cdn.example/a.zip?signature={}",
        ),
        "de": (
            "Der Link https://id.example/reset?lang=de&apikey={} ist abgelaufen.",
            "https://cdn.example/a.zip?sig={}",
        ),
    },
    "password": {
        "en": ("User kim, passwd={}", "The wifi password is: {}"),
        "sv": ("Användare kim, pwd={}", "Lösenordet är: {}"),
        "de": ("Benutzer kim, Kennwort: {}", "Das WLAN-Passwort lautet {}"),
    },
    "key": {
        "en": ("Someone pasted {} into the chat.", "Authorization failed for {} again"),
        "sv": ("Någon klistrade in {} i chatten.", "Det blev fel med {} igen"),
        "de": ("Jemand hat {} in den Chat kopiert.", "Fehler mit {} schon wieder"),
    },
    "secret": {
        "en": ('export SHOP_SECRET_KEY="{}"', "The access token is {} until May."),
        "sv": ('export BUTIK_SECRET_KEY="{}"', "Vår access token är {} till maj."),
        "de": ('export LADEN_SECRET_KEY="{}"', "Das Access-Token lautet {} bis Mai."),
    },
}
SENTENCES = {"developed": _DEVELOPED, "held_out": _HELD_OUT}

_GROUPS = ("email phone card iban id_sv id_de id_us id_gb id_es id_fr network wallet password key secret").split()
_FIELDS: dict[str, dict[str, str]] = {
    half: dict(zip(_GROUPS, names.split(), strict=True))
    for half, names in {
        "developed": "email phone card iban personnummer steuerid ssn nino dni nir client wallet password val api_key",
        "held_out": "from mobile pan account pnr tin SSN ni nif insee address payout pwd config clientSecret",
    }.items()
}
"""Names under which programs keep such values."""
FORMATS = ("plain", "spelled", "json", "markdown", "table", "upper", "unicode", "broken", "url", "code")


def planted(value: Value, format: str, language: str, half: str, rng: random.Random) -> tuple[str, int, int]:
    """A text with `value`, and where it starts and ends."""
    sentence = rng.choice(SENTENCES[half][value.group][language]).replace("{}", _PLACE)
    is_in_url = value.group in ("url_login", "url_token")
    make = _MAKERS[half].get(format) if not (is_in_url and format in ("json", "table", "url", "code")) else None
    text, spelling = make(sentence, value, half, rng) if make else (sentence, value.text)
    start = text.index(_PLACE)
    return text.replace(_PLACE, spelling), start, start + len(spelling)


def _json(sentence: str, value: Value, half: str, rng: random.Random) -> tuple[str, str]:
    record = {"id": rng.randint(1, 99), _FIELDS[half][value.group]: _PLACE, "note": "ok"}
    text = json.dumps(record, indent=2 if half == "held_out" else None, ensure_ascii=False)
    return text.replace(json.dumps(_PLACE)[1:-1], _PLACE), json.dumps(value.text, ensure_ascii=False)[1:-1]


def _upper(sentence: str, value: Value, half: str, rng: random.Random) -> tuple[str, str]:
    is_named = value.group in ("key", "secret", "password", "url_login", "url_token")
    return sentence if is_named else sentence.upper(), value.text.upper() if value.any_case else value.text


def _unicode(sentence: str, value: Value, half: str, rng: random.Random) -> tuple[str, str]:
    if not value.any_case or value.group in ("email", "network"):
        return sentence.replace(" ", "\u00a0"), value.text
    dash, space = ("\u2011", "\u00a0") if half == "developed" else ("\u2013", "\u202f")
    return sentence, value.text.replace("-", dash).replace(" ", space)


def _broken(sentence: str, value: Value, half: str, rng: random.Random) -> tuple[str, str]:
    separators = [match.start() for match in re.finditer(r"(?<=\w)[ -](?=\w)", value.text)]
    if not separators or not value.any_case:
        return sentence.replace(f" {_PLACE}", f"\n{_PLACE}"), value.text
    at = rng.choice(separators)
    kept = "-" if value.text[at] == "-" else ""
    return sentence, value.text[:at] + kept + "\n" + value.text[at + 1 :]


def _url(template: str) -> Callable[[str, Value, str, random.Random], tuple[str, str]]:
    def make(sentence: str, value: Value, half: str, rng: random.Random) -> tuple[str, str]:
        if value.kind in ("private_key", "password"):
            return sentence, value.text
        url = template.format(field=_FIELDS[half][value.group], value=_PLACE)
        return url, quote(
            value.compact, safe=":~" if value.kind in ("ip", "mac", "telegram_token", "azure_secret") else ""
        )

    return make


def _text(template: str) -> Callable[[str, Value, str, random.Random], tuple[str, str]]:
    """A template with `{field}`, `{sentence}` and `{value}`."""

    def make(sentence: str, value: Value, half: str, rng: random.Random) -> tuple[str, str]:
        return template.format(field=_FIELDS[half].get(value.group, ""), sentence=sentence, value=_PLACE), value.text

    return make


def _wrapped(before: str, after: str) -> Callable[[str, Value, str, random.Random], tuple[str, str]]:
    def make(sentence: str, value: Value, half: str, rng: random.Random) -> tuple[str, str]:
        return sentence.replace(_PLACE, f"{before}{_PLACE}{after}"), value.text

    return make


def _spelled(sentence: str, value: Value, half: str, rng: random.Random) -> tuple[str, str]:
    return sentence, value.other


_MAKERS: dict[str, dict[str, Callable[[str, Value, str, random.Random], tuple[str, str]]]] = {
    "developed": {
        "spelled": _spelled,
        "json": _json,
        "markdown": _wrapped("**", "**"),
        "table": _text("| name | {field} |\n|---|---|\n| Kim | {value} |"),
        "upper": _upper,
        "unicode": _unicode,
        "broken": _broken,
        "url": _url("https://shop.example/form?lang=sv&{field}={value}"),
        "code": _text('{field} = "{value}"  # from the form'),
    },
    "held_out": {
        "spelled": _spelled,
        "json": _json,
        "markdown": _wrapped("`", "`"),
        "table": _text("name;{field};city\nKim;{value};Lund"),
        "upper": _upper,
        "unicode": _unicode,
        "broken": _broken,
        "url": _url("See https://forms.example/f/12?{field}={value}&done=1 please"),
        "code": _text("{{'user': 'kim', '{field}': '{value}'}}"),
    },
}
