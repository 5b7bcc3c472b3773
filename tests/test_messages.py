"""Messages name similar words for a misspelt name, and stay on one line."""

from harvester.messages import did_you_mean, nearest, one_line, without_secrets


def test_the_nearest_names_come_first_and_as_they_are_spelt() -> None:
    assert nearest("patientid", ["Modality", "PatientID", "PatientName"])[0] == "PatientID"
    assert nearest("zzz", ["Modality", "PatientID"]) == []
    assert len(nearest("a1", [f"a{number}" for number in range(100)])) == 3


def test_a_misspelt_name_is_answered_with_what_was_meant() -> None:
    assert did_you_mean("Modalty", ["Modality", "PatientID"]) == "; did you mean Modality?"


def test_a_name_like_no_other_is_answered_with_all_of_them_where_they_are_few() -> None:
    assert did_you_mean("zzz", ["Modality", "PatientID"]) == "; valid: Modality, PatientID"
    assert did_you_mean("zzz", [f"Keyword{number}" for number in range(17)]) == ""
    assert did_you_mean("zzz", []) == ""


def test_a_message_of_many_lines_is_one_line() -> None:
    assert one_line("  not\r\n\tTOML \n at all\v ") == "not TOML at all"


def test_secrets_of_addresses_are_left_out() -> None:
    text = "https://me:key@host/a?token=1 and s3://b/ds?endpoint=http://h, 'gs://b/k?x=1'; why?"
    assert without_secrets(text) == "https://...@host/a?... and s3://b/ds?... 'gs://b/k?...'; why?"
